"""The plugin as CoreC sees it: its life cycle, its ticks, its events."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import backoff

from src.core.event import Event
from src.core.processors.base import ProcesadorBase
from src.plugins.plugin_manager import PluginBase

from ..domain.errors import DatabaseUnusableError, NotNowError
from ..domain.model import RawEvent
from ..domain.redact import redact_text
from ..health import Report
from ..recorder import Summary
from ..settings import Loaded, load
from ..web.server import Address
from .assembly import Assembly, assemble

log = logging.getLogger("corec.alert_manager")

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = ROOT / "configs" / "plugins" / "alert_manager" / "schema.sql"
_START_WAIT = 10.0  # seconds that a start waits for the databases before it goes on without
_PUSH_WAIT = 20.0  # seconds that an event in hand waits for alert_db


class AlertProcessor(ProcesadorBase, PluginBase):
    """Reads every event, remembers each alert once, and tells people.

    Args:
        config: the content of alert_manager.yaml, or the plugin.json that names it; the
            environment's ALERT_MANAGER_CONFIG goes before both.
        redis_client: a `redis.asyncio` client, or None; only speed depends on it.
        db_config: libpq keywords of corec_db.

    Raises:
        ConfigError: (a ValueError) with every fault of the configuration.
    """

    lee_eventos = True

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        redis_client: Any = None,
        db_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._loaded: Loaded = load(config or {}, ROOT)
        self._redis = redis_client
        self._db_config = dict(db_config or {})
        self._assembly: Assembly | None = None
        self._pushed = Summary()

    async def inicializar(self, nucleus: Any) -> None:
        """Connects, starts to read and to deliver.

        A database that is down delays this by 10 s at the most; reading starts when it is back.

        Raises:
            ValueError: the environment's COREC_HTTP_… cannot be used.
        """
        address = Address.from_environment(os.environ)
        home = Path(os.environ.get("COREC_HOME") or ROOT / ".corec")
        instance = str(nucleus.instance_id)
        parts = assemble(
            self._loaded, self._redis, self._db_config, instance, address, home, SCHEMA
        )
        self._assembly = parts
        # Where reading begins is settled before the host goes on: what comes later is then read.
        await asyncio.gather(*(loop.settle(_START_WAIT) for loop in parts.loops))
        parts.delivery.start()
        parts.lag.start()
        for loop in parts.loops:
            loop.start()
        try:
            await parts.web.start()
        except OSError as error:
            # Alerts matter more than the page that tells how they are.
            log.error("no se puede escuchar en %s:%d: %s", address.host, address.port, error)

    async def procesar(self, datos: Any, contexto: Mapping[str, Any]) -> dict[str, Any]:
        """Judges all that is new; called by the entity and its mirror, also at the same time.

        Returns:
            Counts since the last call. Reports go out through delivery: nothing to publish here.
        """
        parts = self._parts
        try:
            await parts.eventos.drain()
        except NotNowError as error:
            return {"estado": "error", "mensaje": str(error), "publicar": False}
        summary, self._pushed = self._pushed, Summary()
        for loop in parts.loops:
            summary += loop.take_summary()
        return {"estado": "ok", **asdict(summary), "publicar": False}

    async def manejar_evento(self, event: Event) -> None:
        """Judges one event that the host hands over, decoded or as `{"data": bytes}`.

        Raises:
            NotNowError: alert_db was away for 20 s; the event was not stored.
        """
        parts = self._parts
        raw = RawEvent(
            source="push",
            # Its own identity: a try that was cut off may have stored it.
            event_id=uuid.uuid4().int >> 66,
            channel=event.canal,
            payload=event.datos,
            timestamp=time.time(),
            instance_id=parts.instance,
            size=_size(event.datos),
        )

        @backoff.on_exception(backoff.expo, NotNowError, max_time=_PUSH_WAIT, logger=None)
        async def push() -> Summary:
            try:
                return await parts.recorder.push(raw)
            except DatabaseUnusableError:
                await parts.store.prepare()  # its tables may have gone, or never been
                raise

        try:
            summary = await push()
        except BaseException as error:
            reason = str(error) if isinstance(error, NotNowError) else type(error).__name__
            log.critical("evento de %s sin guardar: %s", event.canal, redact_text(reason))
            raise
        self._pushed += summary  # read anew: others were counted meanwhile

    @property
    def puerto(self) -> int | None:
        """The port of `/health` and `/metrics`; None where it could not be had."""
        return self._parts.web.port

    async def salud(self) -> Report:
        """Returns the state of each part, as `/health` shows it."""
        return await self._parts.health.report()

    async def detener(self) -> None:
        """Stops reading, finishes what is in hand, closes everything; safe to call twice."""
        parts, self._assembly = self._assembly, None
        if parts is None:
            return
        await asyncio.gather(*(loop.stop() for loop in parts.loops))
        await asyncio.gather(parts.delivery.stop(), parts.web.stop(), parts.lag.stop())
        await asyncio.gather(*(session.close() for session in parts.sessions))
        await parts.cache.close()
        parts.recorder.close()
        parts.reader.close()

    @property
    def _parts(self) -> Assembly:
        if self._assembly is None:
            raise RuntimeError("alert_manager no está en marcha: falta inicializar(nucleus)")
        return self._assembly


def _size(datos: Any) -> int:
    inner = datos.get("data") if isinstance(datos, Mapping) else datos
    return len(inner) if isinstance(inner, bytes | str) else 0
