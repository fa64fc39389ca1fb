"""alert_db is away: people are told of what is urgent, and it is stored once, later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from src.core.event import Event
from src.plugins.alert_manager import look_ahead
from src.plugins.alert_manager.processors import alert_processor
from tests.plugins.conftest import BROKEN, SCHEMA, Streams, World, eventually
from tests.plugins.test_delivery import tell
from tests.support.discord import BROKEN as FAILING
from tests.support.discord import DiscordServer, limited
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres
from tests.support.smtp import SmtpServer

UNSAVED = "La base de alertas no responde"


@pytest.fixture
def alert_server(server_root: Path, world: World) -> Iterator[TestPostgres]:
    """A server of its own for alert_db, which a test may take away."""
    server = TestPostgres(server_root / f"alert-{time.monotonic_ns()}")
    server.root.mkdir()
    server.start()
    world.alert_dsn = server.create_database("alert", owner="alert_user")
    server.apply(world.alert_dsn, SCHEMA)
    try:
        yield server
    finally:
        server.stop("immediate")


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_processor, "_START_WAIT", 1.0)  # for databases that are away


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as running:
        yield running


def lose(world: World, symbol: str, amount: int = 500) -> float:
    """Writes a losing trade; returns when it was committed."""
    world.write("trading_results", f'{{"profit": -{amount}, "symbol": "{symbol}"}}')
    return time.monotonic()


def handed_over(symbol: str) -> Event:
    return Event("trading_results", {"profit": -700, "symbol": symbol})


def told(server: DiscordServer, symbol: str) -> list[dict[str, Any]]:
    """The embeds about a trade."""
    return [embed for embed in server.embeds if embed["title"].endswith(f"en {symbol}")]


def about_us(server: DiscordServer) -> list[str]:
    """The titles of what is told of alert_db itself."""
    return [e["title"] for e in server.embeds if "La base de alertas" in e["title"]]


def mails(smtp: SmtpServer, symbol: str) -> int:
    return sum(f"en {symbol} " in str(received.mail["Subject"]) for received in smtp.messages)


def stored(world: World) -> list[str]:
    """The symbols of the trades that are stored as alerts."""
    return [a["event_data"]["symbol"] for a in world.alerts() if a["channel"] == "trading_results"]


def deliveries(world: World, symbol: str) -> set[tuple[str, str, str]]:
    """Channel, state and answers of the messages about a trade."""
    sql = (
        "SELECT n.channel, n.status, coalesce(string_agg(d.answer, '|'), '')"
        " FROM notifications AS n JOIN alerts AS a ON a.id = n.alert_id"
        " LEFT JOIN deliveries AS d ON d.notification_id = n.id"
        " WHERE a.event_data->>'symbol' = %s AND n.channel NOT LIKE 'alert_data%%' GROUP BY n.id"
    )
    return set(world.alert(sql, (symbol,)))


async def until_settled(world: World, *symbols: str) -> None:
    """Waits until these are stored, and nothing is left to be told."""
    await eventually(lambda: set(symbols) <= set(stored(world)))
    pending = "SELECT count(*) FROM notifications WHERE status = 'pending'"
    await eventually(lambda: world.alert(pending) == [(0,)])


async def begun(world: World) -> None:
    """Waits until nothing is in flight: what is, is told again after its lease."""
    lose(world, "BEFORE")
    await until_settled(world, "BEFORE")


async def test_what_is_urgent_is_told_without_alert_db_and_stored_once(
    world: World,
    alert_server: TestPostgres,
    server: DiscordServer,
    smtp: SmtpServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell(world, server, smtp)
    async with world.running():
        await begun(world)
        alert_server.kill()
        committed = lose(world, "DURING")
        world.write("trading_results", '{"profit": 900, "symbol": "GAIN"}')  # of severity baja
        logged = "[ALTA] Pérdida de $500.00 en DURING"
        await eventually(
            lambda: told(server, "DURING") and mails(smtp, "DURING") and logged in caplog.text, 10.0
        )
        assert time.monotonic() - committed < 10.0
        assert told(server, "DURING")[0]["description"].startswith(UNSAVED)
        lose(world, "DURING")  # the same once more is a repeat
        await eventually(lambda: about_us(server), 15.0)  # people hear why
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING", "GAIN")
        lose(world, "AFTER")
        await eventually(lambda: told(server, "AFTER") and mails(smtp, "AFTER"))
        await eventually(lambda: len(about_us(server)) == 2)  # and that it is back
    assert sorted(stored(world)) == ["AFTER", "BEFORE", "DURING", "GAIN"]
    for symbol in ("BEFORE", "DURING", "AFTER"):
        assert (len(told(server, symbol)), mails(smtp, symbol)) == (1, 1), symbol
    found = {channel: (status, answer) for channel, status, answer in deliveries(world, "DURING")}
    assert {status for status, _ in found.values()} == {"sent"}
    assert all(answer.startswith("sin alert_db") for _, answer in found.values())
    own = [alert for alert in world.alerts() if alert["channel"] == "alert_data"]
    assert [(alert["rule"], alert["status"]) for alert in own] == [
        ("sin_base_de_alertas", "resuelta")
    ]
    assert [title.split(": ")[0] for title in about_us(server)] == ["CRÍTICA", "RESUELTA"]
    repeats = "SELECT occurrences FROM alerts WHERE event_data->>'symbol' = 'DURING'"
    assert world.alert(repeats) == [(2,)]


@pytest.mark.long
async def test_an_alert_db_that_hangs_is_no_reason_to_wait(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    tell(world, server, smtp)
    with postgres_proxy(world.alert_dsn) as (cut, parameters):
        async with world.running(config={**world.config, "db_config": parameters}):
            await begun(world)
            cut.freeze()
            for symbol in ("ONE", "TWO"):
                committed = lose(world, symbol)
                await eventually(lambda s=symbol: told(server, s) and mails(smtp, s), 10.0)  # type: ignore[misc]
                assert time.monotonic() - committed < 10.0
                await asyncio.sleep(1.0)
            cut.thaw()
            await until_settled(world, "BEFORE", "ONE", "TWO")
    for symbol in ("BEFORE", "ONE", "TWO"):
        assert (len(told(server, symbol)), mails(smtp, symbol)) == (1, 1), symbol


async def test_who_starts_again_without_alert_db_tells_nothing_twice(
    world: World, alert_server: TestPostgres, server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(world, server, None)
    monkeypatch.setattr(look_ahead, "SAVE_INTERVAL", 0.5)
    async with world.running():
        await begun(world)
        await asyncio.sleep(1.5)  # how far it came is noted now and then
        alert_server.kill()
        lose(world, "FIRST")
        await eventually(lambda: told(server, "FIRST"))
    lose(world, "STOPPED")
    async with world.running():
        await eventually(lambda: told(server, "STOPPED"))
        lose(world, "SECOND")
        await eventually(lambda: told(server, "SECOND"))
        alert_server.start()
        await until_settled(world, "BEFORE", "FIRST", "STOPPED", "SECOND")
    symbols = ["BEFORE", "FIRST", "SECOND", "STOPPED"]
    assert sorted(stored(world)) == symbols
    assert [len(told(server, symbol)) for symbol in symbols] == [1, 1, 1, 1]


async def test_what_alert_db_had_still_to_tell_is_told(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    """Discord makes us wait while three are stored, and alert_db goes away."""
    tell(world, server, None)
    async with world.running():
        await begun(world)
        server.script.append(limited(4.0))
        symbols = ["ONE", "TWO", "THREE"]
        for symbol in symbols:
            lose(world, symbol)
        await eventually(lambda: set(symbols) <= set(stored(world)))
        alert_server.kill()
        assert not any(told(server, symbol) for symbol in symbols)
        await eventually(lambda: all(told(server, symbol) for symbol in symbols), 15.0)
        alert_server.start()
        await until_settled(world, *symbols)
    assert [len(told(server, symbol)) for symbol in symbols] == [1, 1, 1]
    assert server.early == 0


async def test_an_event_that_the_host_hands_over_is_kept(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    tell(world, server, None)
    async with world.running() as processor:
        await begun(world)
        alert_server.kill()
        events: dict[str, dict[Any, Any]] = {
            "JSON": {"profit": -700, "symbol": "JSON", 1: "a key that is no text"},
            "BYTES": {"data": b'{"profit": -700, "symbol": "BYTES"}'},
            "GAIN": {"profit": 900, "symbol": "GAIN"},
        }
        for payload in events.values():
            await processor.manejar_evento(Event("trading_results", payload))
        await eventually(lambda: told(server, "JSON") and told(server, "BYTES"), 10.0)
    async with world.running():  # and a restart loses none of them
        alert_server.start()
        await until_settled(world, "BEFORE", *events)
    assert sorted(stored(world)) == ["BEFORE", "BYTES", "GAIN", "JSON"]
    assert len(told(server, "JSON")) == len(told(server, "BYTES")) == 1


async def test_what_was_handed_over_is_stored_though_no_source_brings_anything(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    tell(world, server, None)
    async with world.running() as processor:
        await begun(world)
        world.alert(BROKEN)
        with pytest.raises(psycopg2.Error):
            await processor.manejar_evento(handed_over("REFUSED"))
        await eventually(lambda: about_us(server), 20.0)
        await processor.manejar_evento(handed_over("PUSHED"))
        await eventually(lambda: told(server, "PUSHED"), 10.0)
        world.alert("DROP TRIGGER broken ON alerts")
        await until_settled(world, "BEFORE", "PUSHED")
        await eventually(lambda: len(about_us(server)) == 2)
    assert len(told(server, "PUSHED")) == 1


async def test_people_hear_when_alert_db_answers_and_takes_nothing(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    tell(world, server, None)
    async with world.running():
        await begun(world)
        world.alert(BROKEN)
        lose(world, "DURING")
        await eventually(lambda: told(server, "DURING"), 15.0)
        world.alert("DROP TRIGGER broken ON alerts")
        await until_settled(world, "BEFORE", "DURING")
    assert len(told(server, "DURING")) == 1


async def test_what_was_told_before_is_not_told_again_as_news(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    """A repeat, what is silenced, and a state that lasts: as when alert_db is there."""
    tell(world, server, None)
    world.alert(
        "INSERT INTO silences (matchers, starts_at, ends_at, who, reason) VALUES"
        " ('[[\"symbol\", \"=\", \"QUIET\"]]', now(), now() + interval '1 hour', 'yo', 'prueba')"
    )
    async with world.running():
        lose(world, "BEFORE")
        world.write("macro_data", '{"vix_price": 45}')
        await eventually(lambda: "VIX" in str(server.embeds))
        await until_settled(world, "BEFORE")
        count = len(server.embeds)
        alert_server.kill()
        lose(world, "BEFORE")
        lose(world, "QUIET")
        world.write("macro_data", '{"vix_price": 46}')
        lose(world, "NEWS")
        await eventually(lambda: told(server, "NEWS"), 10.0)
        assert len(server.embeds) - len(about_us(server)) == count + 1
        alert_server.start()
        await until_settled(world, "BEFORE", "QUIET", "NEWS")
    assert len(server.embeds) - len(about_us(server)) == count + 1


@pytest.mark.long
async def test_a_fallback_tells_what_its_channel_cannot_without_alert_db_either(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    tell(world, server, smtp)
    world.config["notification_config"]["discord"]["fallback"] = "email"
    world.config["alert_config"]["routing"] = {"default": ["log", "discord"]}
    async with world.running():
        await begun(world)
        server.always = FAILING
        alert_server.kill()
        lose(world, "DURING")
        await eventually(lambda: mails(smtp, "DURING"), 15.0)
        server.always = None
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
    assert (len(told(server, "DURING")), mails(smtp, "DURING")) == (0, 1)


async def test_without_both_databases_what_a_stream_brings_is_told(
    world: World,
    alert_server: TestPostgres,
    postgres_server: TestPostgres,
    streams: Streams,
    server: DiscordServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell(world, server, None)
    async with world.running():
        await begun(world)
        alert_server.kill()
        postgres_server.kill()
        try:
            streams.add("trading_results", b'{"profit": -500, "symbol": "DURING"}')
            added = time.monotonic()
            logged = "[ALTA] Pérdida de $500.00 en DURING"
            await eventually(lambda: told(server, "DURING") and logged in caplog.text, 10.0)
            assert time.monotonic() - added < 10.0
        finally:
            postgres_server.start()
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
        assert streams.pending("trading_results") == 0
    assert sorted(stored(world)) == ["BEFORE", "DURING"]
    assert len(told(server, "DURING")) == 1


async def test_the_log_has_it_when_nothing_can_be_written(
    world: World,
    alert_server: TestPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    home = tmp_path / "full"
    home.mkdir()
    (home / "spool").write_text("a file where a folder should be")
    monkeypatch.setenv("COREC_HOME", str(home))
    async with world.running():
        await begun(world)
        alert_server.kill()
        committed = lose(world, "DURING")
        await eventually(lambda: "ALERTA sin guardar [ALTA] Pérdida" in caplog.text, 10.0)
        assert time.monotonic() - committed < 10.0
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
    assert "en DURING" in caplog.text
