"""The next batches are read and judged while one is committed; nothing comes of them before."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg2

from src.plugins.alert_manager.domain.model import Fetched, RawEvent
from src.plugins.alert_manager.prefetch import Prefetch
from tests.plugins.conftest import World, eventually
from tests.plugins.histories import insert
from tests.plugins.payloads import to_json
from tests.plugins.test_health import shut
from tests.support.servers import TestPostgres

BATCH = 20


def vix(value: float, **more: Any) -> tuple[str, bytes, float]:
    event = {"plugin": "macro_sync", "vix_price": value, **more}
    return "macro_data", to_json(event), time.time()


def told(world: World) -> int:
    return int(world.alert("SELECT count(*) FROM alerts WHERE channel = 'trading_results'")[0][0])


def losses(count: int, first: int = 0) -> list[tuple[str, bytes, float]]:
    return [
        (
            "trading_results",
            to_json({"plugin": "trading_execution", "profit": -500, "order_id": first + n}),
            time.time(),
        )
        for n in range(count)
    ]


def reads_nothing(world: World) -> bool:
    """Says whether the reader's session was last asked something a second ago."""
    return bool(
        world.corec(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'alert_manager/lectura'"
            " AND state = 'idle' AND state_change < now() - interval '1 s'"
        )[0][0]
    )


async def settled(world: World) -> None:
    """Waits until the plugin has stored what its start comes to, which takes commits of its own."""
    world.write("macro_data", vix(90)[1])
    await eventually(lambda: any(row["rule"] == "vix" for row in world.alerts()))
    await asyncio.sleep(0.5)


def in_batches(world: World) -> None:
    world.config["config"]["reader"] = {"start_from": "beginning", "batch_size": BATCH}


def waits_for_a_lock(world: World) -> bool:
    return bool(
        world.alert(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name = 'alert_manager/almacen'"
            " AND query LIKE 'EXECUTE alerts_insert%%'"
        )[0][0]
    )


async def test_what_was_read_ahead_is_stored_without_its_source(
    world: World, postgres_server: TestPostgres
) -> None:
    in_batches(world)
    async with world.running():
        await settled(world)
        locked = psycopg2.connect(world.alert_dsn)
        with locked.cursor() as cursor:
            cursor.execute("LOCK TABLE alerts IN SHARE MODE")
        await asyncio.to_thread(insert, world.corec_dsn, iter(losses(4 * BATCH)))
        await eventually(lambda: waits_for_a_lock(world))
        await eventually(lambda: reads_nothing(world))  # the second batch is judged, the third read
        async with shut(postgres_server, world.corec_dsn):
            locked.close()
            await eventually(lambda: told(world) == 3 * BATCH)
            await asyncio.sleep(0.5)
            assert told(world) == 3 * BATCH
        await eventually(lambda: told(world) == 4 * BATCH)


async def test_what_a_commit_cannot_store_is_read_and_judged_once_more(world: World) -> None:
    in_batches(world)
    async with world.running():
        await settled(world)
        with psycopg2.connect(world.alert_dsn) as locked:
            with locked.cursor() as cursor:
                cursor.execute("LOCK TABLE alerts IN SHARE MODE")
            await asyncio.to_thread(insert, world.corec_dsn, iter(losses(3 * BATCH)))
            await eventually(lambda: waits_for_a_lock(world))
            world.alert(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'alert_manager/almacen'"
            )
        await eventually(lambda: told(world) == 3 * BATCH)


async def test_a_changed_threshold_counts_for_the_next_batch(world: World) -> None:
    in_batches(world)
    change = {"action": "update_threshold", "vix_threshold": 25, "plugin": "operador"}
    events = [
        *(vix(21, n=n) for n in range(BATCH - 1)),  # 20 is the limit until then
        ("alert_data", to_json(change), time.time()),
        *(vix(24, n=n) for n in range(BATCH)),
        *losses(BATCH),
    ]
    async with world.running():
        await asyncio.to_thread(insert, world.corec_dsn, iter(events))
        await eventually(lambda: told(world) == BATCH)
    values = {row["event_data"]["vix_price"] for row in world.alerts() if row["rule"] == "vix"}
    assert values == {21}


class _Pages:
    """A source and a judge that stand still: pages from the third on, and judgements, never end."""

    reads_ahead = True

    async def fetch(self, position: int) -> Fetched[Any]:
        if position >= 2:
            await asyncio.Event().wait()
        event = RawEvent("eventos", position, "c", b"", 0.0, None, 0)
        return Fetched((event,), position + 1, more=True)

    async def look_at(self, events: Any) -> Any:
        await asyncio.Event().wait()


async def begun_ahead(left: int) -> tuple[Prefetch[Any], set[asyncio.Task[Any]]]:
    """Returns what reads ahead of a first batch, and what it has begun."""
    pages: Any = _Pages()
    ahead: Prefetch[Any] = Prefetch(pages, pages)
    first = await ahead.next(0)
    before = asyncio.all_tasks()
    ahead.begin(first.fetched.position, 10, left)
    await asyncio.sleep(0.1)
    return ahead, asyncio.all_tasks() - before


async def test_nothing_that_was_begun_outlives_a_drop_that_is_cancelled() -> None:
    ahead, begun = await begun_ahead(left=9)
    assert {task.get_name() for task in begun} == {"read ahead", "judge ahead"}
    dropping = asyncio.create_task(ahead.drop())
    await asyncio.sleep(0)
    dropping.cancel()
    await asyncio.gather(dropping, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert all(task.cancelled() for task in begun)


async def test_the_last_batch_that_is_asked_for_reads_no_other() -> None:
    ahead, begun = await begun_ahead(left=1)
    assert {task.get_name() for task in begun} == {"judge ahead"}
    await ahead.drop()
