"""`alerts.sh dead-letters`: what could not be judged is judged again, once, by the same road."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner, Result

from src.core.event import Event
from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.stream_position import EntryId
from tests.plugins.conftest import Streams, World, eventually, show_to_commands
from tests.plugins.test_alert_manager import SPEC_EVENTS

LOSS = b'{"profit": -150.0, "symbol": "BTC/USDT", "exchange": "binance", "user_id": "user1"}'


async def run(*arguments: str) -> Result:
    """Beside the loop of the test, as it makes one of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["dead-letters", *arguments])


async def said(*arguments: str, code: int = 0) -> Any:
    result = await run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def seen(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    show_to_commands(world, monkeypatch, tmp_path)
    monkeypatch.setenv("REDIS_URL", world.redis_url)
    return world


async def letters(world: World, count: int) -> None:
    sql = "SELECT count(*) FROM dead_letters"
    await eventually(lambda: world.alert(sql) == [(count,)])


def mend(world: World, row: int, payload: bytes = LOSS) -> None:
    """As a version of ours would that reads what the old one could not."""
    sql = "UPDATE eventos SET datos = %s WHERE id = %s RETURNING id"
    world.corec(sql, (psycopg2.Binary(payload), row))


async def test_what_is_understood_now_is_an_alert_once(seen: World) -> None:
    async with seen.running():
        row = seen.write("trading_results", b"\x00\x01 no es nada")
        seen.write("trading_results", b"{tampoco")
        await letters(seen, 2)
    listed = await said("list")
    assert [(one["id"], one["event_id"], one["channel"]) for one in listed] == [
        (2, row + 1, "trading_results"),
        (1, row, "trading_results"),
    ]
    assert "sigue sin entenderse" in (await run("show", "1")).output
    [same] = await said("retry", "1", code=1)
    assert (same["passed"], seen.alerts()) == (False, [])

    mend(seen, row)
    assert (await said("show", "1"))["would_pass"] is True
    assert seen.alerts() == []  # to look changes nothing
    assert (await run("retry", "1")).output == "Evento apartado 1: se entiende: 1 alerta.\n"
    [alert] = seen.alerts()
    assert (alert["event_id"], alert["severity"], alert["occurrences"]) == (row, "alta", 1)
    assert alert["title"] == "Pérdida de $150.00 en BTC/USDT"
    assert [one["id"] for one in (await said("list"))] == [2]
    assert "no existe" in (await run("retry", "1")).output
    async with seen.running():  # and people are told, by the channels of who runs
        sent = "SELECT count(*) FROM notifications WHERE status = 'sent' AND channel = 'log'"
        await eventually(lambda: seen.alert(sent) == [(1,)])
    assert len(seen.alerts()) == 1


async def test_all_of_a_channel(seen: World) -> None:
    async with seen.running():
        rows = [seen.write("trading_results", b"{roto") for _ in range(3)]
        seen.write("macro_data", b"{roto")
        await letters(seen, 4)
    for number, row in enumerate(rows):
        mend(seen, row, LOSS.replace(b"150", b"15%d" % number))
    result = await run("retry", "--all", "--channel", "trading_results")
    assert result.exit_code == 0
    assert len(seen.alerts()) == 3
    assert [one["channel"] for one in (await said("list"))] == ["macro_data"]
    assert (await run("retry", "--all")).exit_code == 1  # what is left is still not understood


async def test_a_repeat_is_counted_on_its_alert(seen: World) -> None:
    async with seen.running():
        seen.write(*SPEC_EVENTS[0][:2])
        row = seen.write("alertas", b"{roto")
        await letters(seen, 1)
        await eventually(lambda: len(seen.alerts()) == 1)
    mend(seen, row, b'{"tipo": "circuit_breaker_tripped", "plugin": "trading_execution"}')
    assert "ninguna alerta, 1 repetida" in (await run("retry", "1")).output
    assert [alert["occurrences"] for alert in seen.alerts()] == [2]


async def test_an_entry_of_a_stream(seen: World, streams: Streams) -> None:
    async with seen.running():
        entry = EntryId.parse(streams.add("trading_results", b"{roto"))
        await letters(seen, 1)
    [letter] = await said("list")
    assert letter["source"] == "stream:trading_results"
    assert EntryId.unpack(letter["event_id"]) == entry
    streams.client.delete("trading_results")
    assert f"la entrada {entry} ya no está" in (await run("retry", "1")).output
    streams.add("trading_results", LOSS, str(entry))
    assert (await said("retry", "1")) == [
        {"id": 1, "passed": True, "said": "se entiende: 1 alerta"}
    ]
    [alert] = seen.alerts()
    assert (alert["source"], alert["event_id"]) == ("stream:trading_results", entry.pack())


async def test_what_nobody_has_any_more(seen: World) -> None:
    async with seen.running() as processor:
        gone = seen.write("trading_results", b"{roto")
        other = seen.write("trading_results", b"{roto")
        await letters(seen, 2)
        await processor.manejar_evento(Event("trading_results", {"data": b"{roto"}, ""))
    seen.corec("DELETE FROM eventos WHERE id = %s RETURNING id", (gone,))
    mend(seen, other)
    seen.corec("UPDATE eventos SET timestamp = timestamp + 1 WHERE id = %s RETURNING id", (other,))
    tried = {one["id"]: one["said"] for one in (await said("retry", "--all", code=1))}
    assert f"la fila {gone} ya no está en eventos" in tried[1]
    assert f"la fila {other} de eventos es ahora otro evento" in tried[2]
    assert "lo entregó el anfitrión" in tried[3]
    assert seen.alerts() == []
    assert len(await said("list")) == 3


async def test_who_comes_second_finds_it_done(seen: World) -> None:
    """Somebody else judged it between our reading it and our commit."""
    async with seen.running():
        row = seen.write("trading_results", b"{roto")
        await letters(seen, 1)
    mend(seen, row)
    seen.alert(
        "CREATE RULE taken AS ON DELETE TO dead_letters DO INSTEAD NOTHING"
    )  # the row is there to be read, and gone when it is to be taken
    assert "otra persona ya lo reintentó" in (await run("retry", "1")).output
    assert seen.alerts() == []


async def test_what_is_to_be_judged_again_has_to_be_said(seen: World) -> None:
    assert (await run("retry")).exit_code == 2
    assert (await run("retry", "1", "--all")).exit_code == 2
    assert (await run("list")).output == "No hay eventos apartados.\n"
    assert (await run("show", "7")).exit_code == 1


async def test_databases_that_do_not_answer(
    seen: World, monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    async with seen.running():
        seen.write("trading_results", b"{roto")
        await letters(seen, 1)
        streams.add("trading_results", b"{roto")
        await letters(seen, 2)
    monkeypatch.setenv("REDIS_URL", "redis://:clave-secreta@127.0.0.1:1/0")
    monkeypatch.setenv("COREC_DB_DSN", "postgresql://x:clave-secreta@127.0.0.1:1/x")
    for number, name in (("1", "corec_db"), ("2", "Redis")):
        result = await run("retry", number)
        assert result.exit_code == 3
        assert f"{name} no responde" in result.output
        assert "clave-secreta" not in result.output
