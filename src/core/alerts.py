"""Alerts on their way into `eventos`: none is lost without a trace."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import psycopg2

from src.core.store import PASSING, CorecStore
from src.utils.payload import PayloadError, encode_json, readable, without_secrets
from src.utils.postgres import NoAnswerError
from src.utils.retry import first_line, retry

_LOG = logging.getLogger(__name__)

ALERT_CHANNEL = "alertas"


async def publish_alert(
    store: CorecStore, alerta: Mapping[str, Any], instance_id: str, seconds: float
) -> None:
    """Write an alert into `eventos` on the channel `alertas`; what is no JSON goes as text.

    Args:
        store: corec_db.
        alerta: the payload.
        instance_id: who publishes.
        seconds: how long all of it may take, waiting behind other work on corec_db included.

    Raises:
        psycopg2.Error: corec_db did not take it in time; the alert is in the log at ERROR, secrets
            hidden. So it is when the caller is cancelled meanwhile.
    """
    try:
        text = encode_json(alerta)
    except PayloadError as exc:
        _LOG.warning("alerta que no era JSON, publicada en su forma más cercana: %s", exc)
        alerta = readable(alerta)
        text = encode_json(alerta)
    try:
        await _until_written(store, text, instance_id, seconds)
    except (psycopg2.Error, asyncio.CancelledError) as exc:
        shown = json.dumps(without_secrets(alerta), ensure_ascii=False)
        _LOG.error("alerta no publicada (%s): %s", first_line(exc), shown)
        raise


async def _until_written(store: CorecStore, text: str, instance_id: str, seconds: float) -> None:
    timestamp = time.time()
    try:
        # Around all tries: the limit of `retry` ends none that is under way.
        async with asyncio.timeout(seconds):
            await retry(
                lambda: store.insert_event(ALERT_CHANNEL, text, instance_id, timestamp),
                PASSING,
                what="publicar_alerta",
                max_seconds=None,
                log=_LOG,
            )
    except TimeoutError:
        raise NoAnswerError(f"corec_db no la tomó en {seconds:g} s") from None
