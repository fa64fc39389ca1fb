"""The reader against real transactions: whatever the order of commits, each row is judged once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.holes import Position
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import ReaderSettings
from src.plugins.alert_manager.utils import eventos, eventos_rows
from src.plugins.alert_manager.utils.eventos import EventosReader
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.queries import fetch_value
from tests.plugins.conftest import World, eventually

INSERT = (
    "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
    " VALUES ('alertas', %s, extract(epoch FROM now()), 'corec1') RETURNING id"
)


def insert(connection: Connection, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (b'{"tipo": "t", "plugin": "%s"}' % name.encode(),))
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def told(world: World) -> list[str]:
    return sorted(alert["event_data"]["plugin"] for alert in world.alerts())


async def test_a_row_that_commits_after_a_later_id_is_judged(world: World) -> None:
    slow, quick = psycopg2.connect(world.corec_dsn), psycopg2.connect(world.corec_dsn)
    try:
        async with world.running():
            assert insert(slow, "slow") < insert(quick, "quick")
            quick.commit()
            await eventually(lambda: told(world) == ["quick"])
            slow.commit()
            await eventually(lambda: told(world) == ["quick", "slow"], 2.0)
    finally:
        slow.close()
        quick.close()


async def test_a_row_in_flight_across_a_restart_is_judged(world: World) -> None:
    slow, quick = psycopg2.connect(world.corec_dsn), psycopg2.connect(world.corec_dsn)
    try:
        async with world.running():
            insert(slow, "slow")
            insert(quick, "quick")
            quick.commit()
            await eventually(lambda: told(world) == ["quick"])
        slow.commit()
        async with world.running():
            await eventually(lambda: told(world) == ["quick", "slow"])
    finally:
        slow.close()
        quick.close()


@pytest.mark.parametrize("anew", [False, True])
async def test_a_row_that_commits_while_a_beginning_is_looked_for_is_not_skipped(
    world: World, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    world.write("alertas", b"{}", time.time() - 7200)
    written: list[int] = []

    def between(cursor: Cursor, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
        answer = fetch_value(cursor, name, arguments)
        if name in ("eventos_bounds", "eventos_first_since") and not written:
            written.append(world.write("alertas", b"{}"))
        return answer

    monkeypatch.setattr(eventos_rows, "fetch_value", between)
    session = PgSession("prueba", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(session, ["alertas"], 1 << 20, ReaderSettings(), Metrics())
    try:
        if anew:  # the row that was read last is another one now
            position = (await reader.fetch(Position(1, seen=time.time(), mark=1.0))).position
        else:
            position = await reader.first_position()
    finally:
        await session.close()
        reader.close()
    assert written
    assert position.hi < written[0]


async def test_a_row_in_flight_at_the_first_start_is_judged(world: World) -> None:
    slow, quick = psycopg2.connect(world.corec_dsn), psycopg2.connect(world.corec_dsn)
    world.config["config"]["reader"]["start_from"] = "now"
    try:
        insert(quick, "before")
        insert(slow, "slow")
        insert(quick, "quick")
        quick.commit()
        async with world.running():
            slow.commit()
            await eventually(lambda: told(world) == ["slow"])
    finally:
        slow.close()
        quick.close()


async def test_a_prepared_transaction_is_awaited(world: World) -> None:
    slow = psycopg2.connect(world.corec_dsn)
    try:
        async with world.running() as processor:
            slow.tpc_begin("corec-test")
            insert(slow, "prepared")
            slow.tpc_prepare()
            slow.reset()
            world.write("alertas", b'{"tipo": "t", "plugin": "quick"}')
            for _ in range(5):
                await processor.procesar({}, {})
            assert told(world) == ["quick"]
            slow.tpc_commit("corec-test")
            await eventually(lambda: told(world) == ["prepared", "quick"])
    finally:
        slow.close()


@pytest.mark.parametrize(
    ("start_from", "expected"),
    [("beginning", ["new", "old"]), ("1h", ["new"]), ("now", []), ("2001-01-01", ["new", "old"])],
)
async def test_the_first_start_begins_where_it_is_told(
    world: World, start_from: str, expected: list[str]
) -> None:
    world.config["config"]["reader"]["start_from"] = start_from
    world.write("alertas", b'{"tipo": "t", "plugin": "old"}', time.time() - 7200)
    world.write("alertas", b'{"tipo": "t", "plugin": "new"}', time.time() - 60)
    async with world.running() as processor:
        await processor.procesar({}, {})
        assert told(world) == expected


async def test_batches_are_bounded_by_rows_and_by_bytes(world: World) -> None:
    for i in range(50):
        world.write("alertas", b'{"tipo": "t", "plugin": "p%d", "x": "%s"}' % (i, b"x" * 100_000))
    session = PgSession("prueba", parse_dsn(world.corec_dsn), autocommit=True)
    settings = ReaderSettings(batch_size=30, batch_bytes=1 << 20)
    reader = EventosReader(session, ["alertas"], 1 << 20, settings, Metrics())
    sizes = []
    position = Position(0)
    try:
        while (fetched := await reader.fetch(position)).events:
            sizes.append(len(fetched.events))
            position = fetched.position
    finally:
        await session.close()
        reader.close()
    assert sum(sizes) == 50
    assert max(sizes) <= 11


ASLEEP = (
    "SELECT 1 FROM pg_locks JOIN pg_database AS d ON d.oid = database"
    " WHERE locktype = 'advisory' AND granted AND d.datname = current_database()"
)


async def test_a_sleeping_reader_is_woken_and_writers_do_not_notify_one_that_is_awake(
    world: World,
) -> None:
    session = PgSession("prueba", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(session, ["alertas"], 1 << 20, ReaderSettings(), Metrics())
    try:
        position = (await reader.fetch(Position(0))).position
        sleeping = asyncio.create_task(reader.sleep(position, 30.0))
        await eventually(lambda: world.corec(ASLEEP))
        world.write("alertas", b"{}")
        await asyncio.wait_for(sleeping, 2.0)
        # Asleep after a row that it has not read yet, it looks once more, and stays awake.
        await asyncio.wait_for(reader.sleep(position, 30.0), 2.0)
    finally:
        await session.close()
        reader.close()


async def test_what_ends_a_sleep_is_read_with_it_unless_we_are_woken(
    world: World,
) -> None:
    def asleep() -> asyncio.Task[None]:
        return asyncio.create_task(reader.sleep(position, 30.0))

    session = PgSession("prueba", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(session, ["alertas"], 1 << 20, ReaderSettings(), Metrics())
    try:
        position = (await reader.fetch(Position(0))).position
        sleeping = asleep()
        await eventually(lambda: world.corec(ASLEEP))
        world.write("alertas", b"{}")
        await asyncio.wait_for(sleeping, 2.0)
        world.write("alertas", b"{}")
        found = await reader.fetch(position)
        assert len(found.events) == 1  # as it was then
        assert len((await reader.fetch(position)).events) == 2  # only once
        position = (await reader.fetch(position)).position
        sleeping = asleep()
        await eventually(lambda: world.corec(ASLEEP))
        reader.wake()
        await asyncio.wait_for(sleeping, 2.0)
        world.write("alertas", b"{}")
        assert len((await reader.fetch(position)).events) == 1
        position = (await reader.fetch(position)).position
        reader._probed_at = due = float("-inf")  # what is looked at now and then
        sleeping = asleep()
        await eventually(lambda: world.corec(ASLEEP))
        world.write("alertas", b"{}")
        await asyncio.wait_for(sleeping, 2.0)
        assert reader._probed_at == due  # is left to a look that nobody drops
    finally:
        await session.close()
        reader.close()


def _writer(dsn: str, seed: int, seconds: float, committed: list[int]) -> None:
    """Commits, rolls back and savepoints at random; keeps the ids that were committed."""
    choose = random.Random(seed)
    connection = psycopg2.connect(dsn)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            kept = [insert(connection, f"{seed}-{uuid.uuid4()}")]
            if choose.random() < 0.3:
                with connection.cursor() as cursor:
                    cursor.execute("SAVEPOINT s")
                    insert(connection, f"{seed}-undone-{uuid.uuid4()}")
                    cursor.execute("ROLLBACK TO SAVEPOINT s")
            if choose.random() < 0.3:
                kept.append(insert(connection, f"{seed}-{uuid.uuid4()}"))
            time.sleep(choose.random() * 0.02)  # how long the transaction stays open
            if choose.random() < 0.25:
                connection.rollback()
            else:
                connection.commit()
                committed.extend(kept)
    finally:
        connection.close()


async def test_eight_writers_in_random_order_lose_and_double_nothing(world: World) -> None:
    committed: list[int] = []
    async with world.running():
        threads = [
            threading.Thread(target=_writer, args=(world.corec_dsn, seed, 4.0, committed))
            for seed in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await eventually(lambda: len(world.alerts()) >= len(committed), 60.0)
    judged = [alert["event_id"] for alert in world.alerts()]
    assert len(committed) > 200
    assert sorted(judged) == sorted(committed)
    assert {alert["occurrences"] for alert in world.alerts()} == {1}


async def test_two_instances_judge_each_event_once_and_the_second_takes_over(
    world: World,
) -> None:
    async with world.running("corec1") as first, world.running("corec2"):
        world.write("alertas", b'{"tipo": "t", "plugin": "a"}')
        await eventually(lambda: told(world) == ["a"])
        await first.detener()
        world.write("alertas", b'{"tipo": "t", "plugin": "b"}')
        await eventually(lambda: told(world) == ["a", "b"], 60.0)
    assert [alert["occurrences"] for alert in world.alerts()] == [1, 1]


@pytest.mark.long
async def test_a_tick_ends_while_writers_are_faster_than_the_reader(world: World) -> None:
    world.config["config"]["reader"]["batch_size"] = 1
    committed: list[int] = []
    writers = [
        threading.Thread(target=_writer, args=(world.corec_dsn, seed, 3.0, committed))
        for seed in range(4)
    ]
    async with world.running() as processor:
        for thread in writers:
            thread.start()
        await eventually(lambda: world.alerts())
        async with asyncio.timeout(2.5):
            assert (await processor.procesar({}, {}))["estado"] == "ok"
        for thread in writers:
            await asyncio.to_thread(thread.join)
        await eventually(lambda: len(world.alerts()) >= len(committed), 120.0)
    assert sorted(alert["event_id"] for alert in world.alerts()) == sorted(committed)


async def test_a_row_whose_hole_was_given_up_is_found_at_a_probe_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventos, "PROBE_INTERVAL", 0.2)
    async with world.running() as processor:
        ((early,),) = world.corec("SELECT nextval('eventos_id_seq')")
        world.write("alertas", b'{"tipo": "t", "plugin": "a"}')
        position = "SELECT position FROM reader_positions WHERE source = 'eventos'"

        def retired() -> bool:  # what is known of holes is stored with the next commit
            world.write("alertas", b'{"tipo": "t", "plugin": "a"}')
            return [early, early] in [r[:2] for r in world.alert(position)[0][0]["retired"]]

        await eventually(retired)
        world.corec(
            "INSERT INTO eventos (id, canal, datos, timestamp, instance_id) VALUES"
            """ (%s, 'alertas', '{"tipo": "t", "plugin": "late"}', 1, 'w')""",
            (early,),
        )
        await eventually(lambda: "late" in told(world))
        metrics = processor._running.get().web._metrics.text().decode()
    assert "alert_manager_reader_late_rows_total 1.0" in metrics
