from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from hypothesis import given
from pydantic import ValidationError

from src.plugins.alert_manager.domain.delivery import Message, Sent
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.utils.channels.log import LOGGER, LogChannel, LogSettings
from tests.plugins.channel_messages import HOSTILE, LEAKY, MESSAGE, SECRET, any_message


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def _told(message: Message, form: str = "text") -> logging.LogRecord:
    logger, handler = logging.getLogger(LOGGER), _Records()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        channel = LogChannel(LogSettings(format=form))
        assert await channel.send([message]) == Sent()
        await channel.close()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    (record,) = handler.records
    return record


async def test_text_line() -> None:
    record = await _told(MESSAGE)
    assert record.getMessage() == (
        "ALERTA 12 [CRÍTICA] Disyuntor abierto en trading_execution — El disyuntor de "
        "trading_execution se abrió: no se envían órdenes a kraken. "
        "(canal=alertas regla=circuit_breaker)"
    )


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.CRITICA, logging.CRITICAL),
        (Severity.ALTA, logging.ERROR),
        (Severity.MEDIA, logging.WARNING),
        (Severity.BAJA, logging.INFO),
    ],
)
async def test_level_goes_with_severity(severity: Severity, level: int) -> None:
    assert (await _told(replace(MESSAGE, severity=severity))).levelno == level


async def test_the_end_of_an_alert_is_no_alarm() -> None:
    record = await _told(replace(MESSAGE, recovered=True))
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("ALERTA 12 [RESUELTA] Disyuntor")
    assert (
        json.loads((await _told(replace(MESSAGE, recovered=True), "json")).getMessage())["status"]
        == "resuelta"
    )


async def test_json_line() -> None:
    record = await _told(MESSAGE, "json")
    assert json.loads(record.getMessage()) == {
        "id": 12,
        "severity": "critica",
        "status": "abierta",
        "title": MESSAGE.title,
        "message": MESSAGE.text,
        "channel": "alertas",
        "rule": "circuit_breaker",
        "timestamp": "2025-11-23T04:26:40.500000+00:00",
    }


async def test_a_percent_sign_is_not_a_format() -> None:
    assert "100% %s %(x)d" in (await _told(replace(MESSAGE, title="100% %s %(x)d"))).getMessage()


@pytest.mark.parametrize("form", ["text", "json"])
async def test_an_event_forges_no_line_and_colours_nothing(form: str) -> None:
    line = (await _told(HOSTILE, form)).getMessage()
    assert line.splitlines() == [line]
    assert line.isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_secret(form: str) -> None:
    assert SECRET not in (await _told(LEAKY, form)).getMessage()


@pytest.mark.parametrize("form", ["text", "json"])
@given(message=any_message)
async def test_any_alert_is_one_line(form: str, message: Message) -> None:
    line = (await _told(message, form)).getMessage()
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_an_unknown_format_is_a_fault() -> None:
    with pytest.raises(ValidationError):
        LogSettings(format="xml")
