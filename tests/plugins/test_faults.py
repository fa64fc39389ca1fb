"""Faults, run for real: kill -9, Redis away, the database crashed. Nothing lost or doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from src.plugins.alert_manager.utils import eventos
from tests.plugins import fault_runs, fault_runs_servers
from tests.plugins.conftest import World, eventually
from tests.plugins.fault_runs import Committed, compare, load
from tests.plugins.hosts import health, host
from tests.support.servers import TestPostgres, TestRedis

pytestmark = pytest.mark.long


@pytest.mark.timeout(300)  # twenty starts of a host, one after the other
async def test_kill_9_at_random_moments_loses_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    outcome = await fault_runs.kills(world, tmp_path / "h", 20)
    assert outcome.events > 1000
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.figures["alerts that Discord never got"] == 0
    # One request is in flight at once, with ten messages at the most.
    assert outcome.figures["messages told again"] <= 20 * 10


async def test_writers_in_every_order_lose_and_double_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventos, "PROBE_INTERVAL", 2.0)
    outcome = await fault_runs.random_writers(world, 6.0)
    assert outcome.events > 200
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.figures["last event after, s"] < 30


async def test_three_instances_store_each_event_once_while_leaders_die(
    world: World, tmp_path: Path
) -> None:
    outcome = await fault_runs.instances(world, tmp_path, 3000)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.figures["longest takeover, s"] < 15


async def test_a_large_table_costs_nothing_to_poll(world: World) -> None:
    """Less than 1 and 5 ms where a round trip takes 0.17; to look through it takes more than 10."""
    figures = await fault_runs.idle_polls(world, 200_000, 1000)
    assert figures["idle poll, ms"] < max(1.0, 6 * figures["round trip meanwhile, ms"])
    assert figures["poll with 1000 holes, ms"] < max(5.0, 29 * figures["round trip then, ms"])


async def test_redis_down_and_back_changes_nothing(world: World, redis_server: TestRedis) -> None:
    world.config["config"]["delivery"] = {"retry_base": 0.1, "retry_cap": 0.5}
    world.config["config"]["circuit_breaker"] = {"max_failures": 3, "reset_timeout": 0.5}
    committed = Committed()
    reported = (
        "SELECT count(*) FROM notifications AS n JOIN alerts AS a ON a.id = alert_id"
        " WHERE n.channel = 'alert_data_stream' AND n.status = 'sent' AND a.channel <> 'alert_data'"
    )
    async with world.running():
        with load(world, committed, 0.01):
            await eventually(lambda: len(world.alerts()) > 20)
            redis_server.stop()
            before = len(world.alerts())
            await eventually(lambda: len(world.alerts()) > before + 50)
            redis_server.start()
            before = len(world.alerts())
            await eventually(lambda: len(world.alerts()) > before + 50)
        assert await compare(world, committed.names, 60.0) == (0, 0)
        events = [alert for alert in world.alerts() if alert["channel"] != "alert_data"]
        assert {alert["occurrences"] for alert in events} == {1}
        await eventually(lambda: world.alert(reported) == [(len(committed.names),)], 20.0)


async def test_repeats_are_counted_right_when_redis_was_flushed_or_alert_db_emptied(
    world: World, redis_server: TestRedis
) -> None:
    def counts() -> list[int]:
        return [alert["occurrences"] for alert in world.alerts()]

    event = b'{"tipo": "circuit_breaker_tripped", "plugin": "p"}'
    async with world.running():
        world.write("alertas", event)
        await eventually(lambda: counts() == [1])
        world.write("alertas", event)
        await eventually(lambda: counts() == [2])
        assert redis_server.command("FLUSHALL") == "+OK"
        world.write("alertas", event)
        await eventually(lambda: counts() == [3])
        world.alert("TRUNCATE alerts CASCADE")
        world.write("alertas", event)
        await eventually(lambda: counts() == [1])


async def test_tables_that_vanished_are_made_again(world: World) -> None:
    async with world.running():
        world.write("alertas", b'{"tipo": "t", "plugin": "a"}')
        await eventually(lambda: len(world.alerts()) == 1)
        world.alert("DROP TABLE alerts, notifications, dead_letters, reader_positions CASCADE")
        world.write("alertas", b'{"tipo": "t", "plugin": "b"}')
        await eventually(lambda: {a["event_data"]["plugin"] for a in world.alerts()} == {"a", "b"})


async def test_a_crash_of_the_database_server_loses_and_doubles_nothing(
    world: World, postgres_server: TestPostgres, tmp_path: Path
) -> None:
    committed = Committed()
    with host(world, tmp_path / "h") as process:
        await eventually(lambda: health(tmp_path / "h")[0] == 200, 60.0)
        with load(world, committed, 0.002):
            for crash in range(1, 4):
                await eventually(lambda n=100 * crash: len(committed.names) > n)  # type: ignore[misc]
                await asyncio.to_thread(postgres_server.stop, "immediate")
                await eventually(lambda: health(tmp_path / "h")[0] == 503)
                await asyncio.to_thread(postgres_server.start)
                await eventually(lambda: health(tmp_path / "h")[0] == 200, 60.0)
        # A commit may have reached the disk without its answer reaching the writer.
        stored = await asyncio.to_thread(fault_runs_servers.stored_names, world)
        assert await compare(world, stored, 60.0) == (0, 0)
        assert {alert["occurrences"] for alert in world.alerts()} == {1}
        assert set(committed.names) <= set(stored)
        assert process.poll() is None


async def test_health_names_what_is_wrong(
    world: World, postgres_server: TestPostgres, tmp_path: Path
) -> None:
    with host(world, tmp_path / "h"):
        await eventually(lambda: health(tmp_path / "h")[0] == 200, 60.0)
        await asyncio.to_thread(postgres_server.stop)
        _, body = await eventually(lambda: (h := health(tmp_path / "h"))[0] == 503 and h)
        await asyncio.to_thread(postgres_server.start)
        await eventually(lambda: health(tmp_path / "h")[0] == 200, 60.0)
    assert body["estado"] == "error"
    parts = body["partes"]
    assert isinstance(parts, dict)
    assert not parts["corec_db"]["ok"]
    assert not parts["alert_db"]["ok"]


@pytest.mark.parametrize("down", ["alert_db", "redis"])
async def test_it_starts_without_a_server_and_goes_on_when_it_comes(
    world: World, postgres_server: TestPostgres, redis_server: TestRedis, down: str
) -> None:
    server: TestPostgres | TestRedis = redis_server if down == "redis" else postgres_server
    world.write("alertas", b'{"tipo": "t", "plugin": "p"}')
    await asyncio.to_thread(server.stop)
    try:
        async with world.running() as processor:
            assert (await processor.procesar({}, {}))["estado"] == (
                "ok" if down == "redis" else "error"
            )
            await asyncio.to_thread(server.start)
            await eventually(lambda: len(world.alerts()) == 1, 60.0)
    finally:
        await asyncio.to_thread(server.start)


async def test_a_redis_that_hangs_costs_a_moment_once(
    world: World, redis_server: TestRedis
) -> None:
    outcome = await fault_runs_servers.redis_away(world, redis_server, 3.0)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    figures = outcome.figures
    for fault in ("flushed", "stopped", "hung"):
        assert figures[f"{fault}: p99, ms"] - figures["normal: p99, ms"] < 150, figures
    behind_breaker = figures["hung, breaker open: p50, ms"] - figures["normal: p50, ms"]
    assert behind_breaker < 5, figures


async def test_a_database_that_crashes_again_and_again_is_read_within_seconds(
    world: World, postgres_server: TestPostgres
) -> None:
    outcome = await fault_runs_servers.crashes(world, postgres_server, 5)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.figures["reading again after, s (longest)"] < 10


@pytest.mark.parametrize("database", ["corec_db", "alert_db"])
async def test_a_silent_database_is_noticed_and_stops_nothing_else(
    world: World, database: str
) -> None:
    outcome = await fault_runs_servers.black_hole(world, database, 16.0)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.figures["noticed after, s"] < 15
    assert outcome.figures["loop lag p99, ms"] < 50
