"""Silences: what they cover, when they count; people are not told, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.silences import Silence, parse_matcher
from src.plugins.alert_manager.interval_settings import ActiveSettings
from tests.plugins.conftest import World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_delivery_faults import alert_db, queue
from tests.support.discord import DiscordServer
from tests.support.pace import seconds

__all__ = ["alert_db"]
DATA = {"symbol": "BTC/USDT", "user_id": 7, "ok": True, "valor": {"errores": 3}}


def covers(*matchers: str, data: dict[str, Any] | None = None) -> bool:
    silence = Silence(1, tuple(map(parse_matcher, matchers)), 0.0)
    return silence.covers(
        "perdida", Severity.ALTA, "trading_results", DATA if data is None else data
    )


@pytest.mark.parametrize(
    ("matchers", "covered"),
    [
        (["rule=perdida"], True),
        (["rule=vix"], False),
        (["severity=alta", "channel=trading_results"], True),
        (["severity!=crítica"], True),
        (["severity=alta", "symbol=ETH/USDT"], False),
        (["symbol=~BTC.*"], True),
        (["symbol=~BTC"], False),  # all of it
        (["symbol!~ETH.*"], True),
        (["user_id = 7"], True),
        (["ok=true"], True),
        (["valor.errores=3"], True),
        (["nada="], True),  # what is not there is empty
        (["nada!="], False),
        (["nada=~.+"], False),
    ],
)
def test_matchers(matchers: list[str], covered: bool) -> None:
    assert covers(*matchers) is covered


@pytest.mark.parametrize(
    "pattern",
    [
        *("BTC.*", "(BTC|ETH)/USDT", "(abc)+", r"(\\+)+", "([+*])+", "(?:ab)*c+"),
        *("(a+)+", "(?:\\w+\\s?)*x", "(a|a)*b", "((a+)b)*", "(a?a?){2,}", "(x*){0,9}"),
        ".*" * 20 + "x",
    ],
)
def test_patterns_are_quick_whatever_the_text(pattern: str) -> None:
    silence = Silence(1, (parse_matcher(f"symbol=~{pattern}"),), 0.0)

    def matches() -> None:
        for text in ("a" * 60_000, "ab" * 30_000 + "!", "+" * 60_000 + "x", "\ud800"):
            silence.covers("r", Severity.ALTA, "c", {"symbol": text})

    assert seconds(matches) < 1.0


def test_a_pattern_sees_all_of_a_text() -> None:
    long = {"message": "x" * 5000 + "BTC"}
    assert covers("message=~.*BTC", data=long)
    assert not covers("message!~.*BTC", data=long)


def test_a_severity_is_known_with_its_accent_in_patterns_too() -> None:
    assert parse_matcher("severity=~crítica|alta").value == "critica|alta"
    assert covers("severity=~crítica|alta")


@pytest.mark.parametrize(
    "text", ["", "rule", "a b=c", "rule=~(", "severity=urgente", "x=~a(?!b)", "x=\udce9"]
)
def test_what_is_no_matcher_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"se e|expresión|encontró"):
        parse_matcher(text)


def test_it_counts_between_its_times_and_in_its_hours() -> None:
    zone = ZoneInfo("America/Mexico_City")
    weekend = ActiveSettings(weekdays=["sab-dom"]).intervals("America/Mexico_City")
    silence = Silence(3, (parse_matcher("rule=x"),), 1000.0, 2000.0)
    assert [silence.counts(t) for t in (999.9, 1000.0, 1999.9, 2000.0)] == [
        False,
        True,
        True,
        False,
    ]
    weekly = Silence(4, silence.matchers, 0.0, None, weekend)
    saturday = datetime(2026, 11, 21, 12, tzinfo=zone).timestamp()
    assert weekly.counts(saturday)
    assert not weekly.counts(saturday + 2 * 86400)
    both = [s for s in (silence, weekly) if s.counts(saturday)]
    assert [s.number for s in both if s.covers("x", Severity.BAJA, "c", {})] == [4]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def loss(world: World, symbol: str, profit: float = -500) -> None:
    world.write("trading_results", to_json({"profit": profit, "symbol": symbol}))


def states(world: World) -> list[tuple[str, str, int]]:
    return [(a["event_data"]["symbol"], a["status"], a["occurrences"]) for a in world.alerts()]


async def test_a_silence_mutes_people_and_never_the_record(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            done = ("silence", "add", "rule=perdida", "symbol=~BTC.*", "--for", "2h")
            result = await asyncio.to_thread(run, *done, "--reason", "pruebas", "--who", "ana")
            assert result.exit_code == 0, result.output
            assert result.output.startswith("Silencio 1, hasta ")
            loss(world, "BTC/USDT")
            loss(world, "ETH/USDT")
            await eventually(lambda: statuses(world, "log") == {"sent": 2})
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            assert states(world) == [("BTC/USDT", "silenciada", 1), ("ETH/USDT", "abierta", 1)]
            loss(world, "BTC/USDT")
            await eventually(lambda: states(world)[0] == ("BTC/USDT", "silenciada", 2))
            assert len(discord.embeds) == 1
            listed = await asyncio.to_thread(run, "silence", "list", "--json")
            (silence,) = json.loads(listed.stdout)
            assert (silence["who"], silence["reason"], silence["alerts"]) == ("ana", "pruebas", 1)
            table = (await asyncio.to_thread(run, "silence", "list")).output
            assert "rule=perdida symbol=~BTC.*" in table
            over = await asyncio.to_thread(run, "silence", "expire", "1", "--who", "beto")
            assert over.output == "Silencio 1: terminado.\n"
            loss(world, "BTC/USDT")  # a repeat of what nobody was told: now they are
            await eventually(lambda: states(world)[0] == ("BTC/USDT", "abierta", 3))
            await eventually(lambda: len(discord.embeds) == 2)
        history = json.loads(run("show", "1", "--json").stdout)["history"]
        assert [(e["action"], e["who"], e["note"]) for e in history] == [
            ("silenciada", "ana", "pruebas"),
            ("abierta", "alert_manager", "sigue, y el silencio 1 ya no cuenta"),
        ]
        assert run("silence", "expire", "1").exit_code == 1


async def test_what_waits_is_muted_too(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(alert_db, monkeypatch, tmp_path)
    for number in range(5):
        queue(alert_db, "discord", f"m{number}", severity=3)
    queue(alert_db, "discord", "otra", severity=4)
    queue(alert_db, "log", "m", severity=3)
    result = run("silence", "add", "severity=alta", "--reason", "tormenta")
    assert result.output == (
        "Silencio 1, hasta que alguien lo termine.\n5 avisos que esperaban ya no salen.\n"
    )
    assert statuses(alert_db, "discord") == {"muted": 5, "pending": 1}
    assert statuses(alert_db, "log") == {"pending": 1}
    later = run(
        "silence", "add", "severity=critica", "--reason", "luego", "--from", "2099-01-01T00:00"
    )
    assert later.output == "Silencio 2, hasta que alguien lo termine.\n"
    assert statuses(alert_db, "discord")["pending"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("rule",), "se espera campo=valor"),
        (("rule=x", "--for", "mucho"), "mucho"),
        (("rule=x", "--for", "1h", "--until", "2099-01-01T00:00"), "no los dos"),
        (("rule=x", "--until", "2001-01-01T00:00"), "después de empezar"),
        (("rule=x", "--until", "1h"), "una hora ISO"),
        (("rule=x", "--until", "mañana"), "se espera una hora ISO como"),
        (("rule=x", "--from", "2020-01-01T00:00", "--for", "1h"), "ya habría terminado"),
        (("rule=x", "--until", "9999-12-31T23:59:59"), "antes de 2200"),
        (("rule=x", "--from", "9999-12-31T23:59:59"), "antes de 2200"),
        (("rule=x", "--for", "99999999999d"), "antes de 2200"),
        (("rule=x", "--for", "0s"), "después de empezar"),
        (("rule=x", "--reason", " "), "Falta el porqué"),
        (("rule=x", "--weekly", "sab-dom"), "sab-dom 00:00-24:00"),
        (("rule=x", "--weekly", "feriado 00:00-24:00"), "lun-vie"),
    ],
)
def test_what_cannot_be_silenced_says_so(
    options: tuple[str, ...],
    said: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    show_to_commands(world, monkeypatch, tmp_path)
    result = run("silence", "add", "--reason", "r", *options)
    assert result.exit_code == 2
    assert said in result.output


def test_before_the_first_start_it_says_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(world, monkeypatch, tmp_path)
    result = run("silence", "add", "rule=x", "--reason", "r")
    assert result.exit_code == 1
    assert "./scripts/start.sh" in result.output


def test_hours_of_the_week_are_kept(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(alert_db, monkeypatch, tmp_path)
    begin = time.time()
    result = run("silence", "add", "rule=x", "--weekly", "sab-dom 00:00-24:00", "--reason", "r")
    assert result.exit_code == 0, result.output
    ((weekly, starts),) = alert_db.alert(
        "SELECT weekly, extract(epoch FROM starts_at)::float8 FROM silences"
    )
    assert weekly == {"zone": "America/Mexico_City", "weekdays": [5, 6], "hours": [[0, 1440]]}
    assert "(sab,dom 00:00-24:00 America/Mexico_City)" in run("silence", "list").output
    assert starts == pytest.approx(begin, abs=60)


def test_a_silence_can_be_added_while_the_configuration_is_not_valid(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(alert_db, monkeypatch, tmp_path)
    with (tmp_path / "alert_manager.yaml").open("a", encoding="utf-8") as file:
        file.write("\nsobra: 1\n")
    result = run("silence", "add", "rule=x", "--for", "1h", "--reason", "r")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Silencio 1, hasta ")
    assert "sobra" in result.stderr
