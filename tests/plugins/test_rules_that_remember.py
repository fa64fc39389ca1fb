"""Rules that count, compare with earlier values, and end their alerts; through kill -9, too."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from src.plugins.alert_manager.domain import tracking
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import to_json
from tests.support.discord import DiscordServer

API_ERROR = {"tipo": "api_error", "plugin": "trading_execution", "message": "503"}


def rules(world: World, rule: str) -> list[tuple[str, int]]:
    return [(a["severity"], a["occurrences"]) for a in world.alerts() if a["rule"] == rule]


def api_error(world: World, exchange: str, timestamp: float | None = None) -> None:
    world.write("alertas", to_json({**API_ERROR, "exchange": exchange}), timestamp)


def vix(world: World, *values: float) -> None:
    for value in values:
        world.write("macro_data", to_json({"vix_price": value}))


def without_absences(world: World) -> None:
    """Leaves out rules that would tell of what a test does not write."""
    config = world.config["alert_config"]
    config["rules"] = [rule for rule in config["rules"] if "absent_for" not in rule]


def judged(world: World) -> bool:
    """Says whether everything in `eventos` is judged."""
    last = world.corec("SELECT max(id) FROM eventos WHERE canal <> 'alert_data'")[0][0]
    if not world.alert("SELECT 1 WHERE to_regclass('rule_states') IS NOT NULL"):
        return False
    sql = "SELECT (position->>'hi')::int >= %s FROM reader_positions WHERE source = 'eventos'"
    return world.alert(sql, (last,)) == [(True,)]


async def test_the_fifth_failure_of_one_exchange_is_one_critical_alert(world: World) -> None:
    async with world.running():
        for exchange in ("kraken", "binance", "kraken", "kraken", "binance", "kraken"):
            api_error(world, exchange)
        await eventually(lambda: judged(world))
        assert rules(world, "api_repetida") == []
        api_error(world, "kraken")
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)])
        api_error(world, "kraken")
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 2)])
    [alert] = [a for a in world.alerts() if a["rule"] == "api_repetida"]
    assert alert["title"] == "kraken falla una y otra vez"
    assert "5 fallos de API con kraken" in alert["message"]


async def test_failures_are_counted_by_their_own_time(world: World) -> None:
    now = time.time()
    for age in (3000, 2500, 2000, 1500, 10):  # all read at once, and far apart
        api_error(world, "kraken", now - age)
    for age in (1300, 1200, 1100, 1000, 900):
        api_error(world, "okx", now - age)
    async with world.running():
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)])
        await eventually(lambda: judged(world))
    [alert] = [a for a in world.alerts() if a["rule"] == "api_repetida"]
    assert alert["event_data"]["exchange"] == "okx"
    assert alert["timestamp"] == pytest.approx(now - 900)


async def test_what_was_told_as_the_file_of_then_had_it_ends_all_the_same(world: World) -> None:
    async with world.running():
        vix(world, 25)
        await eventually(lambda: rules(world, "vix") == [("alta", 1)])
    [rule] = [r for r in world.config["alert_config"]["rules"] if r["name"] == "vix"]
    rule["levels"] = {"media": "vix", "critica": "vix_critical"}
    async with world.running():
        vix(world, 15)
        status = "SELECT status FROM alerts WHERE rule = 'vix'"
        await eventually(lambda: world.alert(status) == [("resuelta",)])


async def test_a_late_value_repeats_what_became_worse_long_ago(world: World) -> None:
    now = time.time()
    without_absences(world)
    async with world.running():
        for value, age in ((25, 3000), (45, 1200), (26, 2700)):
            world.write("macro_data", to_json({"vix_price": value}), now - age)
            await eventually(lambda: judged(world))
        assert rules(world, "vix") == [("alta", 1), ("critica", 2)]


async def test_the_same_failures_by_table_and_stream_count_once(
    world: World, streams: Streams
) -> None:
    async with world.running():
        for number in range(4):
            event = {**API_ERROR, "exchange": "kraken", "message": str(number)}
            world.write("alertas", to_json(event))
            streams.add("alertas", to_json(event))
        marker = {"tipo": "t", "plugin": "por stream"}
        streams.add("alertas", to_json(marker))
        await eventually(lambda: ("media", 1) in rules(world, "otro_aviso"))
        await eventually(lambda: judged(world))
        assert rules(world, "api_repetida") == []
        streams.add("alertas", to_json({**API_ERROR, "exchange": "kraken", "message": "4"}))
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)])


async def test_two_sources_that_change_the_same_state_at_once_lose_nothing(
    world: World, streams: Streams
) -> None:
    world.config["alert_config"]["thresholds"]["api_errors"] = 400
    async with world.running():

        def by_table() -> None:
            for number in range(200):
                world.write(
                    "alertas", to_json({**API_ERROR, "exchange": "kraken", "message": f"t{number}"})
                )

        def by_stream() -> None:
            for number in range(200):
                event = {**API_ERROR, "exchange": "kraken", "message": f"s{number}"}
                streams.add("alertas", to_json(event))
                time.sleep(0.002)

        await asyncio.gather(asyncio.to_thread(by_table), asyncio.to_thread(by_stream))
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)], 60.0)
    kept = "SELECT jsonb_array_length(state->'seen') FROM rule_states WHERE rule = 'api_repetida'"
    assert world.alert(kept) == [(400,)]


async def test_a_price_that_falls_is_measured_from_the_highest_of_ten_minutes(
    world: World,
) -> None:
    now = time.time()
    prices = [(1200, 120.0), (500, 98.0), (400, 100.0), (200, 95.0), (100, 92.01), (50, 92.0)]
    async with world.running():
        for age, price in prices:
            for symbol, factor in (("BTC/USDT", 1.0), ("ETH/USDT", 1.0 if age > 50 else 1.05)):
                event = {"symbol": symbol, "price": price * factor}
                world.write("market_data", to_json(event), now - age)
        await eventually(lambda: rules(world, "caida_de_precio") == [("alta", 1)])
        await eventually(lambda: judged(world))
    [alert] = [a for a in world.alerts() if a["rule"] == "caida_de_precio"]
    assert alert["title"] == "BTC/USDT cae 8 %"
    assert "pasó de $100.00 a $92.00" in alert["message"]


async def test_an_index_that_swings_is_one_alert_and_its_end_is_told_once(
    world: World, server: DiscordServer
) -> None:
    world.config["notification_config"]["discord"] = {
        "enabled": True,
        "webhook_url": server.webhook_url,
    }

    def titles() -> list[str]:
        return [e["title"] for message in server.messages for e in message["embeds"]]

    async with world.running():
        vix(world, 21, 19, 21, 18, 22)
        await eventually(lambda: rules(world, "vix") == [("alta", 3)])
        await eventually(lambda: titles() == ["ALTA: VIX en 21"])
        vix(world, 41, 30)
        await eventually(lambda: rules(world, "vix") == [("alta", 3), ("critica", 2)])
        await eventually(lambda: len(titles()) == 2)
        vix(world, 17.9)
        await eventually(lambda: len(titles()) == 3)
        statuses = "SELECT DISTINCT status, resolution FROM alerts"
        assert world.alert(statuses) == [("resuelta", "La volatilidad bajó: VIX en 17.9.")]
        vix(world, 16, 21)  # it begins anew, and within the hour of the first
        await eventually(lambda: len(titles()) == 4)
        # Programs count reports: an end is none.
        reports = "SELECT count(*) FROM eventos WHERE canal = 'alert_data'"
        await eventually(lambda: world.corec(reports) == [(3,)])
    assert titles()[1:] == ["CRÍTICA: VIX en 41", "RESUELTA: VIX en 41", "ALTA: VIX en 21"]
    end = server.messages[2]["embeds"][0]
    assert end["description"] == "La volatilidad bajó: VIX en 17.9."
    assert world.corec(reports) == [(3,)]


async def test_the_end_of_a_count_is_told_in_its_own_number(world: World) -> None:
    [rule] = [r for r in world.config["alert_config"]["rules"] if r["name"] == "api_repetida"]
    rule |= {"clear": 2, "recovery": "{{ exchange }}: {{ valor|numero }} en 10 minutos"}
    now = time.time()
    async with world.running():
        for age in (5000, 4900, 4800, 4700, 4600, 10):
            api_error(world, "kraken", now - age)
        ends = "SELECT resolution, resolved_at FROM alerts WHERE rule = 'api_repetida'"
        await eventually(
            lambda: world.alert(ends) == [("kraken: 1 en 10 minutos", pytest.approx(now - 10))]
        )


async def test_a_clock_that_is_hours_ahead_silences_nothing(world: World) -> None:
    ahead = time.time() + 6 * 3600
    async with world.running():
        api_error(world, "kraken", ahead)
        world.write("macro_data", to_json({"vix_price": 21}), ahead)
        world.write("market_data", to_json({"symbol": "BTC/USDT", "price": 100.0}), ahead)
        await eventually(lambda: judged(world))
        for _ in range(4):
            api_error(world, "kraken")
        world.write("market_data", to_json({"symbol": "BTC/USDT", "price": 50.0}))
        vix(world, 17)
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)])
        await eventually(lambda: rules(world, "caida_de_precio") == [("critica", 1)])
        await eventually(
            lambda: [a["status"] for a in world.alerts() if a["rule"] == "vix"] == ["resuelta"]
        )


async def test_a_value_next_to_nothing_does_not_stop_its_rule(world: World) -> None:
    async with world.running():
        for value in (5e-324, 100.0, 60.0):
            world.write("market_data", to_json({"symbol": "BTC/USDT", "price": value}))
        await eventually(lambda: rules(world, "caida_de_precio") == [("critica", 1)])
    assert world.alert("SELECT reason FROM dead_letters") == []


async def test_what_changes_nothing_is_not_stored(world: World) -> None:
    async with world.running():
        vix(world, 15, 16, 17, 21, 19, 22, 20)
        await eventually(lambda: rules(world, "vix") == [("alta", 3)])
        await eventually(lambda: judged(world))
        assert world.alert("SELECT version FROM rule_states WHERE rule = 'vix'") == [(1,)]


async def test_a_state_that_cannot_be_judged_with_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with world.running():
        vix(world, 15)
        await eventually(lambda: judged(world))
        with monkeypatch.context() as patched:
            patched.setattr(tracking, "step", broken)
            vix(world, 21)
            await eventually(lambda: world.alert("SELECT count(*) FROM dead_letters") == [(1,)])
        vix(world, 22)
        await eventually(lambda: rules(world, "vix") == [("alta", 1)])


async def test_a_crisis_that_began_long_ago_and_lasts_is_told(
    world: World, server: DiscordServer
) -> None:
    without_absences(world)
    world.config["config"]["reader"]["start_from"] = "beginning"
    world.config["notification_config"]["discord"] = {
        "enabled": True,
        "webhook_url": server.webhook_url,
    }

    def titles() -> list[str]:
        return [e["title"] for message in server.messages for e in message["embeds"]]

    world.write("macro_data", to_json({"vix_price": 45}), time.time() - 25 * 3600)
    async with world.running():
        digest = "CRÍTICA: 1 evento antiguo con alerta, sin aviso uno por uno"
        await eventually(lambda: titles() == [digest])
        vix(world, 46, 47)
        await eventually(lambda: titles() == [digest, "CRÍTICA: VIX en 45"])
        vix(world, 12)
        await eventually(lambda: titles()[2:] == ["RESUELTA: VIX en 45"])
    assert [count for _, count in rules(world, "vix")] == [3]


async def test_a_crisis_whose_beginning_and_newest_event_are_read_together_is_told(
    world: World, server: DiscordServer
) -> None:
    without_absences(world)
    world.config["config"]["reader"]["start_from"] = "beginning"
    world.config["notification_config"]["discord"] = {
        "enabled": True,
        "webhook_url": server.webhook_url,
    }
    world.write("macro_data", to_json({"vix_price": 45}), time.time() - 25 * 3600)
    vix(world, 46)
    async with world.running():
        await eventually(lambda: server.messages)
        told = [e["title"] for message in server.messages for e in message["embeds"]]
    assert "CRÍTICA: VIX en 45" in told


@pytest.mark.long
async def test_kill_9_in_the_middle_of_a_window_forgets_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    for count in (2, 2):
        with host(world, tmp_path / "h") as process:
            for _ in range(count):
                api_error(world, "kraken")
                vix(world, 21)
            await eventually(lambda: judged(world), 60.0)
            process.kill()
        assert rules(world, "api_repetida") == []
    with host(world, tmp_path / "h"):
        api_error(world, "kraken")
        vix(world, 21)
        await eventually(lambda: rules(world, "api_repetida") == [("critica", 1)], 60.0)
        await eventually(lambda: rules(world, "vix") == [("alta", 5)])


async def test_a_state_of_another_version_begins_anew(world: World) -> None:
    async with world.running():
        vix(world, 21)
        await eventually(lambda: rules(world, "vix") == [("alta", 1)])
    world.alert("UPDATE rule_states SET state = '{\"lasting\": 7}'")
    async with world.running():
        vix(world, 45)
        await eventually(lambda: rules(world, "vix") == [("alta", 1), ("critica", 1)])


async def test_a_backlog_behind_a_newer_event_is_counted(world: World) -> None:
    now = time.time()
    api_error = b'{"tipo": "api_error", "plugin": "exchange_sync", "exchange": "kraken"}'
    async with world.running():
        world.write("alertas", api_error, now)
        await eventually(world.alerts)
        for number in range(7):  # what a plugin had in its queue while the network was away
            world.write("alertas", api_error, now - 2400.0 + number)
        await eventually(
            lambda: [a for a in world.alerts() if a["rule"] == "api_repetida"], seconds=20.0
        )
    (alert,) = [a for a in world.alerts() if a["rule"] == "api_repetida"]
    assert (alert["severity"], alert["occurrences"]) == ("critica", 3)


async def test_a_late_low_value_ends_no_crisis(world: World) -> None:
    now = time.time()
    async with world.running():
        for ago, vix in ((600, 25), (300, 38), (450, 17)):
            world.write("macro_data", b'{"vix_price": %d}' % vix, now - ago)
        await eventually(lambda: [a for a in world.alerts() if a["occurrences"] == 2])
        world.write("alertas", b'{"tipo": "fin", "plugin": "p"}')
        await eventually(lambda: [a for a in world.alerts() if a["channel"] == "alertas"])
        assert [a["status"] for a in world.alerts() if a["rule"] == "vix"] == ["abierta"]
        world.write("macro_data", b'{"vix_price": 17}', now)
        await eventually(lambda: [a for a in world.alerts() if a["status"] == "resuelta"])
