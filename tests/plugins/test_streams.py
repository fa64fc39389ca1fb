"""The second source, Redis streams: nothing lost, nothing twice, one alert by two roads."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.plugins.conftest import BROKEN, GROUP, Streams, World, eventually
from tests.plugins.payloads import event
from tests.support.servers import TestRedis


def loss(amount: float) -> bytes:
    return json.dumps({"profit": -amount, "symbol": "BTC/USDT", "exchange": "kraken"}).encode()


def told(world: World) -> list[tuple[str, int]]:
    return [(a["event_data"].get("plugin") or a["rule"], a["occurrences"]) for a in world.alerts()]


async def test_an_entry_becomes_an_alert_and_is_acknowledged(
    world: World, streams: Streams
) -> None:
    async with world.running():
        entry = streams.add("trading_results", loss(150))
        (alert,) = await eventually(lambda: world.alerts())
        await eventually(lambda: streams.pending("trading_results") == 0)
    assert alert["source"] == "stream:trading_results"
    assert alert["channel"] == "trading_results"
    assert alert["timestamp"] == int(entry.split("-")[0]) / 1000


@pytest.mark.parametrize("window", ["1h", "0"])
@pytest.mark.parametrize("first", ["stream", "eventos"])
async def test_the_same_event_by_both_roads_is_one_alert(
    world: World, streams: Streams, first: str, window: str
) -> None:
    world.config["alert_config"]["dedupe"]["window"] = window
    times = 2 if window == "1h" else 1
    async with world.running():
        for road in ("streams", "eventos") if first == "stream" else ("eventos", "streams"):
            for _ in range(times):
                if road == "streams":
                    streams.add("trading_results", loss(150))
                else:
                    world.write("trading_results", loss(150))
            counted = f"SELECT sum(from_{road}) FROM alerts"
            await eventually(partial(_is, world, counted, times))
    assert [count for _, count in told(world)] == [times]
    assert world.alert("SELECT count(*) FROM notifications WHERE channel = 'log'") == [(1,)]


def _is(world: World, sql: str, expected: int) -> bool:
    return world.alert(sql) == [(expected,)]


async def test_what_a_dead_reader_had_in_its_hands_is_judged_once(
    world: World, streams: Streams
) -> None:
    async with world.running("corec1"):
        streams.add("alertas", event("before"))
        await eventually(lambda: told(world) == [("before", 1)])
    for name in ("a", "b", "c"):
        streams.add("alertas", event(name))
    streams.client.xreadgroup(GROUP, "dead", {"alertas": ">"}, count=2)
    assert streams.pending("alertas") == 2
    async with world.running("corec2"):
        await eventually(lambda: told(world) == [(n, 1) for n in ("before", "a", "b", "c")])
        await eventually(lambda: streams.pending("alertas") == 0)


async def test_what_was_stored_and_not_acknowledged_is_not_judged_again(
    world: World, streams: Streams
) -> None:
    names = ["a", "b", "c"]
    async with world.running("corec1"):
        for name in names:
            streams.add("alertas", event(name))
        await eventually(lambda: len(world.alerts()) == 3)
    # As after a kill -9 between the commit and the acknowledgement.
    streams.client.xgroup_setid("alertas", GROUP, "0")
    streams.client.xreadgroup(GROUP, "corec1", {"alertas": ">"})
    assert streams.pending("alertas") == 3
    async with world.running("corec1"):
        streams.add("alertas", event("d"))
        await eventually(lambda: len(world.alerts()) == 4)
        await eventually(lambda: streams.pending("alertas") == 0)
    assert told(world) == [(name, 1) for name in [*names, "d"]]


@pytest.mark.parametrize("deleted", ["flush", "stream", "group"])
async def test_streams_that_vanish_are_read_on(
    world: World, streams: Streams, deleted: str
) -> None:
    async with world.running():
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        if deleted == "flush":
            streams.client.flushall()
        elif deleted == "stream":
            streams.client.delete("alertas")
        else:
            streams.client.xgroup_destroy("alertas", GROUP)
        streams.add("alertas", event("b"))
        await eventually(lambda: told(world) == [("a", 1), ("b", 1)])


async def test_ids_that_begin_anew_below_the_old_ones_are_read(
    world: World, streams: Streams
) -> None:
    async with world.running():
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
    streams.client.delete("alertas")
    streams.add("alertas", event("b"), "1700000000000-0")
    async with world.running():
        await eventually(lambda: ("b", 1) in told(world))


async def test_a_server_that_took_over_without_the_newest_entries_loses_none(
    world: World, streams: Streams, tmp_path: Path
) -> None:
    now = int(time.time() * 1000)
    async with world.running():
        streams.add("alertas", event("a"), f"{now}-0")
        await eventually(lambda: told(world) == [("a", 1)])
    other = TestRedis(tmp_path / "r")
    other.root.mkdir()
    other.start()
    try:
        world.redis_url = other.url
        promoted = Streams(other.url)
        promoted.add("alertas", event("b"), f"{now - 200}-0")  # its clock is behind
        promoted.add("alertas", event("c"), f"{now + 200}-0")
        async with world.running():
            await eventually(lambda: told(world) == [("a", 1), ("b", 1), ("c", 1)])
        promoted.client.close()
    finally:
        other.stop()


async def test_a_server_that_was_restarted_with_its_data_repeats_nothing(
    world: World, streams: Streams, redis_server: TestRedis
) -> None:
    async with world.running():
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        redis_server.stop()
        redis_server.start()
        streams.add("alertas", event("b"))
        await eventually(lambda: told(world) == [("a", 1), ("b", 1)])


async def test_an_entry_that_cannot_be_read_is_a_dead_letter(
    world: World, streams: Streams
) -> None:
    async with world.running():
        streams.client.xadd("alertas", {"data": b"\x28\xb5\x2f\xfdrubbish"})
        streams.client.xadd("alertas", {"other": b"1"})
        streams.add("alertas", event("odd"), f"{1 << 50}-7")  # an id that no clock made
        await eventually(lambda: told(world) == [("odd", 1)])
        await eventually(lambda: streams.pending("alertas") == 0)
    reasons = [reason for (reason,) in world.alert("SELECT reason FROM dead_letters ORDER BY id")]
    assert len(reasons) == 2
    assert "zstd" in reasons[0]
    assert reasons[1] == "sin datos"


@pytest.mark.parametrize(
    ("start_from", "expected"), [("beginning", ["old", "new"]), ("1h", ["new"]), ("now", [])]
)
async def test_a_first_start_begins_where_it_is_told(
    world: World, streams: Streams, start_from: str, expected: list[str]
) -> None:
    world.config["config"]["reader"]["start_from"] = start_from
    now = int(time.time() * 1000)
    streams.add("alertas", event("old"), f"{now - 7_200_000}-0")
    streams.add("alertas", event("new"), f"{now - 60_000}-0")
    async with world.running():
        streams.add("alertas", event("later"))
        await eventually(lambda: told(world)[-1:] == [("later", 1)])
    assert [name for name, _ in told(world)] == [*expected, "later"]


async def test_one_of_two_instances_reads_and_the_other_takes_over(
    world: World, streams: Streams
) -> None:
    async with world.running("corec1") as first, world.running("corec2"):
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        await first.detener()
        streams.add("alertas", event("b"))
        await eventually(lambda: told(world) == [("a", 1), ("b", 1)], 60.0)


async def test_the_oldest_supported_redis_is_read_too(world: World, redis_floor_url: str) -> None:
    world.redis_url = redis_floor_url
    floor = Streams(redis_floor_url)
    try:
        async with world.running():
            floor.add("alertas", event("a"))
            await eventually(lambda: told(world) == [("a", 1)])
        floor.client.xgroup_setid("alertas", GROUP, "0")
        floor.client.xreadgroup(GROUP, "dead", {"alertas": ">"})
        floor.add("alertas", event("b"))
        async with world.running():
            await eventually(lambda: told(world) == [("a", 1), ("b", 1)])
            await eventually(lambda: floor.pending("alertas") == 0)
    finally:
        floor.client.close()


async def test_streams_can_be_turned_off(world: World, streams: Streams) -> None:
    world.config["config"]["streams"] = {"enabled": False}
    async with world.running() as processor:
        streams.add("alertas", event("a"))
        world.write("alertas", event("b"))
        await eventually(lambda: told(world) == [("b", 1)])
        await asyncio.sleep(1.5)
        assert "streams" not in (await processor.salud()).parts
    assert told(world) == [("b", 1)]


async def test_a_key_that_is_no_stream_leaves_the_others_readable(
    world: World, streams: Streams
) -> None:
    streams.client.hset("market_data", "BTC/USDT", "1")
    async with world.running() as processor:
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        assert (await processor.salud()).parts["streams"].ok
    assert streams.client.type("market_data") == b"hash"


async def test_what_somebody_else_read_from_the_group_is_judged_all_the_same(
    world: World, streams: Streams
) -> None:
    """As a leader that lost its lead, or an answer that never arrived and was asked for again."""
    async with world.running():
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        with streams.client.pipeline(transaction=True) as together:
            frame = zstandard.ZstdCompressor().compress(event("stolen"))
            together.xadd("alertas", {"data": frame})
            together.xreadgroup(GROUP, "thief", {"alertas": ">"})
            assert len(together.execute()) == 2
        await eventually(lambda: told(world) == [("a", 1), ("stolen", 1)])
        streams.add("alertas", event("b"))
        await eventually(lambda: told(world) == [("a", 1), ("stolen", 1), ("b", 1)])
        await eventually(lambda: streams.pending("alertas") == 0)


async def test_a_fault_that_nobody_foresaw_loses_no_entry(world: World, streams: Streams) -> None:
    async with world.running():
        streams.add("alertas", event("a"))
        await eventually(lambda: told(world) == [("a", 1)])
        world.alert(BROKEN)
        streams.add("alertas", event("b"))
        await eventually(lambda: world.alert("SELECT last_value FROM tries")[0][0] > 2)
        world.alert("DROP TRIGGER broken ON alerts")
        streams.add("alertas", event("c"))
        await eventually(lambda: told(world) == [("a", 1), ("b", 1), ("c", 1)])


async def test_a_group_that_is_there_is_not_made_again(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error would be garbage in a cycle, which is collected seldom."""
    monkeypatch.setattr("src.plugins.alert_manager.utils.streams._JOIN_INTERVAL", 0.0)
    async with world.running():
        for times in range(1, 4):
            streams.add("trading_results", loss(150))
            await eventually(partial(_is, world, "SELECT sum(occurrences) FROM alerts", times))
            if times == 1:
                streams.client.config_resetstat()
        errors: Any = streams.client.info("errorstats")
    assert not errors
