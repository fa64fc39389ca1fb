"""Numbers, money and times as the family reads them, by the locale and the forms that it chose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.formats import (
    DATE_LETTERS,
    TIME_LETTERS,
    Formats,
    check_pattern,
)
from src.plugins.alert_manager.settings import check
from src.plugins.alert_manager.utils.channels.discord_message import payload
from src.plugins.alert_manager.utils.channels.email_message import MailWriter
from tests.plugins.channel_messages import MESSAGE
from tests.plugins.conftest import World, eventually, shipped_config

MEXICO = Formats()
SPAIN = Formats("Europe/Madrid", "es_ES", "€", "d 'de' MMMM", "HH:mm")
TEXAS = Formats("America/Chicago", "en_US", "US$", "MM/dd/yyyy", "h:mm a")
MOMENT = 1_763_900_044.0  # 2025-11-23 12:14:04 UTC


@pytest.mark.parametrize(
    ("value", "mexico", "spain"),
    [
        (0.0, "0", "0"),
        (-0.0, "0", "0"),
        (1234567.891234, "1,234,567.8912", "1.234.567,8912"),
        (-0.5, "-0.5", "-0,5"),
        (-0.0000123456, "-0.0000123", "-0,0000123"),
        (1e-300, "0", "0"),
        (1e300, "1e+300", "1e+300"),
        (999999999999999.0, "999,999,999,999,999", "999.999.999.999.999"),
    ],
)
def test_numbers(value: float, mexico: str, spain: str) -> None:
    assert (MEXICO.number(value), SPAIN.number(value)) == (mexico, spain)
    assert (MEXICO.percent(value), SPAIN.percent(value)) == (f"{mexico} %", f"{spain} %")


def test_money() -> None:
    amounts = (1500.0, -150.005, 0.004, -0.004)
    assert [MEXICO.money(n) for n in amounts] == ["$1,500.00", "-$150.00", "$0.004", "-$0.004"]
    assert [SPAIN.money(n) for n in amounts] == ["1.500,00 €", "-150,00 €", "0,004 €", "-0,004 €"]
    assert [MEXICO.money(n) for n in (0.0, 0.00001254, 1e-300)] == ["$0.00", "$0.0000125", "$0.00"]
    assert TEXAS.money(-2.5) == "-US$2.50"
    assert replace(MEXICO, currency="'#0¤").money(1.0) == "'#0¤1.00"


def test_times() -> None:
    shown = [
        (
            f.clock(f.local(MOMENT)),
            f.day_and_clock(f.local(MOMENT)),
            f.to_the_second(f.local(MOMENT)),
        )
        for f in (MEXICO, SPAIN, TEXAS)
    ]
    assert shown == [
        ("06:14", "23/11/2025 06:14", "23/11/2025 06:14:04"),
        ("13:14", "23 de noviembre 13:14", "23 de noviembre 13:14:04"),
        ("6:14 AM", "11/23/2025 6:14 AM", "11/23/2025 6:14:04 AM"),
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_one_short_line_and_reads_back(value: float) -> None:
    for formats in (MEXICO, SPAIN):
        text = formats.number(value)
        assert re.fullmatch(r"-?[\d.,]+(e[+-]\d+)?", text)
        assert len(text) < 40
    plain = MEXICO.number(value).replace(",", "")
    assert float(plain) == pytest.approx(value, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("pattern", ["dd/MM/yyyy", "d 'de' MMMM", "EEE d MMM", "yyyy-MM-dd"])
def test_patterns_of_days(pattern: str) -> None:
    assert check_pattern(pattern, DATE_LETTERS) == pattern


@pytest.mark.parametrize("pattern", ["HH:mm", "h:mm a", "H 'h' mm"])
def test_patterns_of_times(pattern: str) -> None:
    assert check_pattern(pattern, TIME_LETTERS) == pattern


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [(p, DATE_LETTERS) for p in ("", "%d/%m/%Y", "{0}", "'hoy'", "dd/mm/yyyy", "DD/MM/yyyy", "dd")]
    + [(p, TIME_LETTERS) for p in ("", "HH:MM", "hola", "g", "HH", "%H:%M")],
)
def test_what_is_no_pattern(pattern: str, letters: str) -> None:
    with pytest.raises(ValueError, match="se espera una fecha como dd/MM/yyyy"):
        check_pattern(pattern, letters)


async def test_whoever_tells_an_alert_uses_them(world: World) -> None:
    alerts = world.config["alert_config"]
    alerts["timezone"] = "Europe/Madrid"
    alerts["format"] = {"locale": "es_ES", "currency": "€", "date": "d 'de' MMMM"}
    formats = check(world.config).settings.alert_config.formats()
    assert formats == SPAIN
    async with world.running():
        world.write("trading_results", b'{"profit": -1234.5, "symbol": "BTC"}')
        (alert,) = await eventually(world.alerts)
    assert alert["title"] == "Pérdida de 1.234,50 € en BTC"
    message = replace(MESSAGE, timestamp=MOMENT)
    fields = payload([message], "CoreC", formats)["embeds"][0]["fields"]
    assert {"name": "Hora", "value": "23 de noviembre 13:14:04", "inline": True} in fields
    mail = MailWriter("a@x.mx", ["b@x.mx"], "", formats).write(message)
    body = mail.get_body(("plain",))
    assert body is not None
    assert "23 de noviembre 13:14:04 (Europe/Madrid)" in body.get_content()


def test_without_a_word_it_is_mexico() -> None:
    assert check(shipped_config()).settings.alert_config.formats() == MEXICO
