"""Absences as people see them: prices that stop, a settlement that is missing; through kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest

from src.plugins.alert_manager import absences, place, recorder
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import to_json

DAY = 86400.0


def price(world: World, symbol: str, age: float, now: float | None = None) -> float:
    """Writes a price as of `age` seconds ago; returns its time."""
    stamp = (time.time() if now is None else now) - age
    world.write("market_data", to_json({"symbol": symbol, "price": 100.0}), stamp)
    return stamp


def told(world: World, rule: str = "precio_parado") -> list[tuple[str, str, int]]:
    alerts = [a for a in world.alerts() if a["rule"] == rule]
    return [(a["title"].split()[-1], a["status"], a["occurrences"]) for a in alerts]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "CONFIRM_INTERVAL", 0.1)
    monkeypatch.setattr(absences, "INTERVAL", 0.1)


@pytest.fixture
def world(world: World) -> World:
    world.config["config"]["reader"]["tick"] = 0.2
    return world


async def test_prices_that_stop_are_told_once_and_so_is_their_return(world: World) -> None:
    async with world.running():
        last = price(world, "BTC/USDT", 297)
        price(world, "ETH/USDT", 10)
        await asyncio.sleep(1)
        assert told(world) == []
        await eventually(lambda: told(world) == [("BTC/USDT", "abierta", 1)])
        [alert] = world.alerts()
        assert alert["timestamp"] == pytest.approx(last + 300)
        assert (alert["source"], alert["event_id"]) == ("alert_manager", None)
        assert (alert["channel"], alert["severity"]) == ("market_data", "alta")
        assert alert["event_data"] == {"symbol": "BTC/USDT"}
        assert "hace más de 5 min." in alert["message"]
        price(world, "BTC/USDT", 0)
        await eventually(lambda: told(world) == [("BTC/USDT", "resuelta", 1)])
        ends = (
            "SELECT DISTINCT resolution, n.status"
            " FROM notifications n JOIN alerts a ON a.id = alert_id WHERE kind = 'recovery'"
        )
        over = "Llegan de nuevo precios de BTC/USDT: $100.00."
        await eventually(lambda: world.alert(ends) == [(over, "sent")])


async def test_a_backlog_is_judged_by_the_events_own_time(world: World) -> None:
    now = time.time()
    for age in (3000, 2500, 2400, 2300, 200, 100):
        price(world, "BTC/USDT", age, now)
        price(world, "ETH/USDT", age - 100, now)
    world.config["alert_config"]["rules"] = [
        r for r in world.config["alert_config"]["rules"] if r["name"] == "precio_parado"
    ]
    async with world.running():
        await eventually(lambda: len(told(world)) == 4)
        times = sorted(round(now - a["timestamp"]) for a in world.alerts())
        ends = sorted(round(now - a["resolved_at"]) for a in world.alerts())
    assert times == [1900, 2000, 2600, 2700]
    assert ends == [100, 200, 2400, 2500]


@pytest.mark.long
async def test_kill_9_while_an_event_is_awaited_or_absent_tells_as_without(
    world: World, tmp_path: Path
) -> None:
    with host(world, tmp_path / "h") as process:
        price(world, "BTC/USDT", 270)
        price(world, "ETH/USDT", 310)
        await eventually(lambda: told(world) == [("ETH/USDT", "abierta", 1)], 60.0)
        process.kill()
    with host(world, tmp_path / "h") as process:
        await eventually(lambda: len(told(world)) == 2, 60.0)
        process.kill()
    with host(world, tmp_path / "h"):
        price(world, "ETH/USDT", 0)
        price(world, "BTC/USDT", 0)
        expected = [("BTC/USDT", "resuelta", 1), ("ETH/USDT", "resuelta", 1)]
        await eventually(lambda: sorted(told(world)) == expected, 60.0)


async def test_two_instances_tell_an_absence_once(world: World) -> None:
    async with world.running("corec1"), world.running("corec2"):
        for number in range(20):
            price(world, f"S{number}", 299)
        await eventually(lambda: len(told(world)) == 20)
        await asyncio.sleep(1)
        assert len(told(world)) == 20


async def test_a_source_that_is_behind_is_waited_for_and_one_that_is_dead_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SILENCE", 2.0)
    async with world.running():
        world.alert(
            "INSERT INTO reader_positions (source, position, caught_up, updated_at)"
            " VALUES ('otra', '{}', %s, now() + interval '1 hour')",
            (time.time() - 3600,),
        )
        price(world, "BTC/USDT", 400)
        await asyncio.sleep(4)
        assert told(world) == []
        world.alert("UPDATE reader_positions SET updated_at = now() WHERE source = 'otra'")
        await eventually(lambda: told(world) == [("BTC/USDT", "abierta", 1)])


async def test_what_a_transaction_has_not_committed_yet_is_not_missed(world: World) -> None:
    async with world.running():
        with contextlib.closing(psycopg2.connect(world.corec_dsn)) as writer:
            with writer.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES"
                    " ('market_data', %s, extract(epoch FROM now()) - 290, 'corec1')",
                    (to_json({"symbol": "BTC/USDT", "price": 100.0}),),
                )
            price(world, "BTC/USDT", 301)
            price(world, "ETH/USDT", 295)
            await asyncio.sleep(4)
            assert told(world) == []
            writer.commit()
        await eventually(lambda: told(world) == [("ETH/USDT", "abierta", 1)])


async def test_prices_by_stream_and_table_are_awaited_together(
    world: World, streams: Streams
) -> None:
    async with world.running():
        price(world, "BTC/USDT", 297)
        price(world, "ETH/USDT", 297)
        streams.add("market_data", to_json({"symbol": "BTC/USDT", "price": 100.0}))
        await eventually(lambda: told(world) == [("ETH/USDT", "abierta", 1)])
        await asyncio.sleep(2)
        assert len(told(world)) == 1


def rule(world: World, name: str) -> dict[str, Any]:
    [found] = [r for r in world.config["alert_config"]["rules"] if r["name"] == name]
    assert isinstance(found, dict)
    return found


async def test_a_rule_that_waits_less_long_than_before_tells_what_is_absent_already(
    world: World,
) -> None:
    rule(world, "precio_parado")["absent_for"] = "1h"
    async with world.running():
        price(world, "BTC/USDT", 600)
        await eventually(
            lambda: world.alert("SELECT deadline > 0 FROM rule_states WHERE deadline > 0")
        )
        await asyncio.sleep(1)
        assert told(world) == []
    rule(world, "precio_parado")["absent_for"] = "5m"
    async with world.running():
        await eventually(lambda: told(world) == [("BTC/USDT", "abierta", 1)])


async def test_a_settlement_that_is_missing_is_told_at_its_hour(world: World) -> None:
    zone = ZoneInfo(world.config["alert_config"]["timezone"])
    due = datetime.now(zone) - timedelta(minutes=2)
    rule(world, "cierre_pendiente")["absent_by"] = due.strftime("%H:%M")
    event = to_json({"date": "2026-11-22", "roi_percent": 1.5})
    async with world.running():
        world.write("settlement_data", event, time.time() - 3 * 3600)
        titles = [("llegó", "abierta", 1)]
        await eventually(lambda: told(world, "cierre_pendiente") == titles)
        [alert] = world.alerts()
        assert alert["timestamp"] == due.replace(second=0, microsecond=0).timestamp()
        world.write("settlement_data", event)
        await eventually(lambda: world.alerts()[0]["status"] == "resuelta")
    assert world.alerts()[0]["resolution"] == "El cierre del 2026-11-22 llegó: ROI de 1.5 %."


async def test_a_symbol_that_carries_a_secret_or_a_megabyte_is_kept_safe(world: World) -> None:
    async with world.running():
        price(world, "https://user:correct-horse@host/x", 400)
        price(world, "S" * 500_000, 400)
        await eventually(lambda: len(told(world)) == 2)
        price(world, "S" * 500_000, 0)
        await eventually(lambda: [s for _, s, _ in told(world)].count("resuelta") == 1)
    kept = world.alert("SELECT string_agg(state::text, ' ') FROM rule_states WHERE state ? 'heard'")
    assert "horse" not in kept[0][0]
    assert len(kept[0][0]) < 2000
    assert "horse" not in str(world.alerts())


async def test_a_gap_that_another_source_may_fill_is_none(world: World, streams: Streams) -> None:
    now = time.time()
    world.config["config"]["reader"]["start_from"] = "beginning"
    for age in (1000, 5):
        price(world, "BTC/USDT", age, now)
    for age in range(940, 0, -60):
        entry = f"{int((now - age) * 1000)}-0"
        streams.add("market_data", to_json({"symbol": "BTC/USDT", "price": 100.0}), entry)
    async with world.running():
        seen = "SELECT state->'heard'->>'last' FROM rule_states WHERE rule = 'precio_parado'"
        await eventually(lambda: world.alert(seen))
        await asyncio.sleep(3)
        assert told(world) == []


async def test_what_is_absent_for_days_is_told_by_name(world: World) -> None:
    world.config["config"]["reader"]["start_from"] = "beginning"
    mail = {"enabled": True, "smtp_server": "127.0.0.1", "smtp_port": 1, "tls": "none"}
    mail |= {"sender": "a@example.com", "recipient": "b@example.com"}
    world.config["notification_config"]["email"] = mail  # nobody answers: its messages wait
    price(world, "BTC/USDT", 3 * DAY)
    queued = (
        "SELECT a.rule FROM notifications n JOIN alerts a ON a.id = alert_id"
        " WHERE n.channel = 'email'"
    )
    async with world.running():
        await eventually(lambda: ("precio_parado",) in world.alert(queued))


@pytest.mark.long
async def test_keys_of_a_rule_that_asks_otherwise_now_are_not_awaited(world: World) -> None:
    async with world.running():
        price(world, "BTC/USDT", 290)
        await eventually(lambda: world.alert("SELECT 1 FROM rule_states WHERE deadline > 0"))
    rule(world, "precio_parado")["per"] = ["symbol", "exchange"]
    async with world.running():
        price(world, "ETH/USDT", 297)
        await eventually(lambda: [name for name, _, _ in told(world)] == ["ETH/USDT"])
        await asyncio.sleep(12)
        assert len(told(world)) == 1


async def test_a_gap_is_told_though_another_source_stays_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_WAIT", 0.01)
    async with world.running():
        await eventually(lambda: world.alert("SELECT to_regclass('reader_positions')")[0][0])
        world.alert(
            "INSERT INTO reader_positions (source, position, caught_up, updated_at)"
            " VALUES ('otra', '{}', %s, now() + interval '1 hour')",
            (time.time() - 7200,),
        )
        price(world, "BTC/USDT", 4000)
        price(world, "BTC/USDT", 10)
        await eventually(lambda: told(world) == [("BTC/USDT", "resuelta", 1)])


async def test_after_a_long_outage_every_source_is_heard_first(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(absences, "INTERVAL", 600.0)
    async with world.running() as processor:
        await processor.procesar({}, {})  # looks; not again, so that the deadline stays
        price(world, "BTC/USDT", 3000, now)
        await eventually(lambda: world.alert("SELECT deadline FROM rule_states WHERE deadline > 0"))
    monkeypatch.setattr(absences, "INTERVAL", 0.1)
    world.alert(
        "UPDATE reader_positions SET updated_at = now() - interval '2 minutes', caught_up = %s",
        (now - 3050,),
    )
    # What came meanwhile is in the stream, apart from one row: no gap is longer than 100 s.
    for age in range(2900, 0, -100):
        entry = to_json({"symbol": "BTC/USDT", "price": 100.0})
        streams.add("market_data", entry, f"{int((now - age) * 1000)}-0")
    price(world, "BTC/USDT", 50, now)
    async with world.running():
        await eventually(
            lambda: world.alert("SELECT 1 FROM rule_states WHERE deadline > %s", (now + 200,))
        )
        await asyncio.sleep(1)
        assert told(world) == []


async def test_an_absence_ends_though_its_rule_was_changed_meanwhile(world: World) -> None:
    async with world.running():
        price(world, "BTC/USDT", 400)
        await eventually(lambda: told(world) == [("BTC/USDT", "abierta", 1)])
    rule(world, "precio_parado")["when"] = {"symbol": {"ne": "XRP/USDT"}}
    async with world.running():
        price(world, "BTC/USDT", 0)
        await eventually(lambda: told(world) == [("BTC/USDT", "resuelta", 1)])


async def test_a_rule_that_was_taken_out_and_returns_begins_anew(world: World) -> None:
    async with world.running():
        price(world, "BTC/USDT", 200)
        world.write("macro_data", to_json({"vix_price": 15}))
        known = "SELECT DISTINCT rule FROM rule_states ORDER BY rule"
        await eventually(lambda: ("precio_parado",) in world.alert(known))
    rules = list(world.config["alert_config"]["rules"])
    world.config["alert_config"]["rules"] = [r for r in rules if r["name"] != "precio_parado"]
    async with world.running():
        await eventually(lambda: ("precio_parado",) not in world.alert(known))
        assert {("contexto:macro",), ("caida_de_precio",)} <= set(world.alert(known))
    world.alert("UPDATE rule_states SET deadline = deadline - 3600")  # an hour later
    world.config["alert_config"]["rules"] = rules
    async with world.running():
        await asyncio.sleep(2)
        assert told(world) == []
