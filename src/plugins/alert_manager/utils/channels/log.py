"""Channel `log`: one line for each alert, in the log of CoreC."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Literal

from ...domain.delivery import Message, Outcome, Sent
from ...domain.model import Severity
from .base import ChannelSettings
from .common import event_time, paragraphs, shown

LOGGER = "corec.alertas"
_LEVELS = {
    Severity.CRITICA: logging.CRITICAL,
    Severity.ALTA: logging.ERROR,
    Severity.MEDIA: logging.WARNING,
    Severity.BAJA: logging.INFO,
}


class LogSettings(ChannelSettings):
    """`notification_config.log`: `text` for people, `json` for programs (one object each line)."""

    format: Literal["text", "json"] = "text"


class LogChannel:
    """Tells alerts through the logger `corec.alertas`, at a level that goes with their severity."""

    max_batch = 100

    def __init__(self, settings: LogSettings) -> None:
        self._line = _json_line if settings.format == "json" else _text_line
        self._logger = logging.getLogger(LOGGER)

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Writes one line for each alert."""
        for message in batch:
            level = logging.INFO if message.recovered else _LEVELS[message.severity]
            self._logger.log(level, "%s", self._line(message))
        return Sent()

    async def close(self) -> None:
        """Has nothing to give back."""


def _text_line(message: Message) -> str:
    return (
        f"ALERTA {message.reference} [{message.label.upper()}] {shown(message.title)}"
        f" — {' | '.join(paragraphs(message))}"
        f" (canal={shown(message.channel)} regla={shown(message.rule)})"
    )


def _json_line(message: Message) -> str:
    entry = {
        "id": message.stored_id,
        "severity": message.severity.key,
        "status": "resuelta" if message.recovered else "abierta",
        "title": shown(message.title),
        "message": " | ".join(paragraphs(message)),
        "channel": shown(message.channel),
        "rule": shown(message.rule),
        "timestamp": event_time(message).isoformat(),
    }
    return json.dumps(entry, ensure_ascii=False)
