"""What it costs to delete what is old, and whether alert_db stays as large as it is.

    .venv/bin/python -m benchmarks.retention [--alerts 200000] [--rounds 13] [--json FILE]

Fills alert_db with half a year of alerts with their notifications and deliveries, lets the real
retention delete half of them while commits go on, and measures those commits, 5 s with it and 5 s
without in turn. Beside it: one DELETE, and partitions. Then half a year passes, as many alerts come
as go, and the tables are weighed. Starts a server of its own, with fsync, leaves nothing behind;
about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from benchmarks.half_a_year import candidates, fill
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.retention import Retention, Sweeper, Swept
from src.plugins.alert_manager.utils.db import AlertStore
from src.plugins.alert_manager.utils.old_rows import OldRows
from src.plugins.alert_manager.utils.pg import PgSession
from tests.plugins.conftest import SCHEMA, World
from tests.support.servers import TestPostgres, guarded_directory

DAY = 86400.0
DAYS = 180
_PACE = 0.02  # seconds between two commits
_TURN = 5.0  # seconds with, and without the work beside the commits
_SETTLE = 60.0  # seconds that autovacuum has
_SERVER = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "1s",
}
TABLES = ("alerts", "notifications", "deliveries", "alert_history")
SIZE = "SELECT pg_total_relation_size(%s::regclass)"
DEAD = f"SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname IN {TABLES}"
OVER = "SELECT count(*) FROM alerts WHERE created_at < now() - make_interval(secs => %s)"


class Gate:
    """Lets a sweeper work in turns: commits are measured with and without it, side by side."""

    def __init__(self, sweeper: Sweeper) -> None:
        self._sweeper = sweeper
        self.open = asyncio.Event()

    async def take_turn(self) -> bool:
        """As of `Sweeper`."""
        return await self._sweeper.take_turn()

    async def sweep(self, rows: int) -> Swept | None:
        """As of `Sweeper`; waits until the gate is open."""
        await self.open.wait()
        return await self._sweeper.sweep(rows)

    async def give_turn_back(self) -> None:
        """As of `Sweeper`."""
        await self._sweeper.give_turn_back()


async def measured(world: World, working: asyncio.Event, took: dict[bool, list[float]]) -> None:
    """Commits at a steady pace; adds the seconds that each took, by whether something worked."""
    session = PgSession("benchmark", parse_dsn(world.alert_dsn))
    store = AlertStore(session, "corec1", SCHEMA)
    batches = candidates()
    try:
        while True:
            begun, before = time.perf_counter(), working.is_set()
            await store.commit(next(batches))
            if working.is_set() == before:
                took[before].append(time.perf_counter() - begun)
            await asyncio.sleep(max(0.0, begun + _PACE - time.perf_counter()))
    finally:
        await session.close()


async def gently(world: World) -> dict[str, Any]:
    """Sweeps half of it, in turns with nothing, while commits go on."""
    session = PgSession("limpieza", parse_dsn(world.alert_dsn))
    gate = Gate(OldRows(session, DAYS / 2 * DAY, []))
    took: dict[bool, list[float]] = {False: [], True: []}
    sweeping = asyncio.create_task(Retention(gate, Metrics()).round(gate))
    committing = asyncio.create_task(measured(world, gate.open, took))
    worked = 0.0
    await asyncio.sleep(_TURN)
    while not sweeping.done():
        gate.open.set()
        begun = time.perf_counter()
        await asyncio.wait({sweeping}, timeout=_TURN)
        worked += time.perf_counter() - begun
        gate.open.clear()
        if not sweeping.done():
            await asyncio.sleep(_TURN)
    await ended(committing)
    await session.close()
    gone = dict(await sweeping)
    found = {"seconds": round(worked, 1), "rows": sum(gone.values()), **gone}
    return {"alone (ms)": quantiles(took[False]), "beside (ms)": quantiles(took[True]), **found}


async def at_once(world: World) -> dict[str, Any]:
    """Deletes the same by one statement, while commits go on."""
    working = asyncio.Event()
    took: dict[bool, list[float]] = {False: [], True: []}
    committing = asyncio.create_task(measured(world, working, took))
    await asyncio.sleep(20)
    sql = "DELETE FROM alerts WHERE created_at < now() - make_interval(days => %s)"
    working.set()
    begun = time.perf_counter()
    await asyncio.to_thread(world.alert, sql, (DAYS // 2,))
    seconds = round(time.perf_counter() - begun, 1)
    await ended(committing)
    found = {"alone (ms)": quantiles(took[False]), "beside (ms)": quantiles(took[True])}
    return {**found, "seconds": seconds}


async def ended(task: asyncio.Task[None]) -> None:
    """Ends a task that would not end by itself."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def quantiles(took: Sequence[float]) -> dict[str, float]:
    """Returns milliseconds."""
    cuts = statistics.quantiles(took, n=1000)
    found = {"p50": cuts[499], "p99": cuts[989], "max": max(took)}
    shown = {name: round(seconds * 1000, 1) for name, seconds in found.items()}
    return {**shown, "commits": len(took)}


async def settled(world: World) -> None:
    """Waits until autovacuum has nothing more to do, for a while at the most."""
    deadline, last = time.monotonic() + _SETTLE, -1
    while time.monotonic() < deadline:
        await asyncio.sleep(3)
        dead = int((await asyncio.to_thread(world.alert, DEAD))[0][0])
        if dead == last:
            return
        last = dead


def sizes(world: World) -> dict[str, float]:
    """Returns MB of each table with its indexes."""
    return {t: round(world.alert(SIZE, (t,))[0][0] / 1e6, 1) for t in TABLES}


async def weighed(world: World, rounds: int, per_day: int) -> list[dict[str, float]]:
    """Lets half a year pass, a step at a time: what comes is as much as what goes."""
    # The clock stands still: all of it is as old as half a year, and less and less is kept.
    weights = [sizes(world)]
    step = DAYS / rounds
    for number in range(1, rounds + 1):
        left = DAYS - number * step
        fill(world, int(per_day * step), step, ended=left)
        await swept(world, DAYS + left)
        await settled(world)
        weights.append(sizes(world))
    return weights


async def swept(world: World, days: float) -> None:
    """Sweeps without a break: only what becomes of the tables counts."""
    session = PgSession("limpieza", parse_dsn(world.alert_dsn))
    sweeper = OldRows(session, days * DAY, [])
    await sweeper.take_turn()
    while await sweeper.sweep(500) is not None:
        pass
    await session.close()


PARTITIONED = """
    CREATE TABLE parts (LIKE alerts INCLUDING DEFAULTS) PARTITION BY RANGE (timestamp);
    DO $$ BEGIN
        FOR n IN 0..6 LOOP
            EXECUTE format('CREATE TABLE parts_%%s PARTITION OF parts'
                           ' FOR VALUES FROM (%%s) TO (%%s)',
                           n, extract(epoch FROM now())::bigint - (n + 1) * 30 * 86400 + 86400,
                           extract(epoch FROM now())::bigint - n * 30 * 86400 + 86400);
        END LOOP;
    END $$;
    ALTER TABLE parts ADD PRIMARY KEY (id, timestamp);
    CREATE UNIQUE INDEX ON parts (source, event_id, timestamp, rule) WHERE event_id IS NOT NULL;
    CREATE INDEX ON parts (fingerprint, timestamp);
    INSERT INTO parts SELECT * FROM alerts
     WHERE timestamp > extract(epoch FROM now()) - 180 * 86400;
"""
BY_ID = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {} WHERE id = ANY(ARRAY[{}])"


def partitions(world: World) -> dict[str, float]:
    """What partitions by time would cost and bring: look-ups by id, and one that is dropped."""
    world.alert(PARTITIONED)
    world.alert("ANALYZE parts")
    ids = ",".join(
        str(row[0]) for row in world.alert("SELECT id FROM parts ORDER BY random() LIMIT 100")
    )
    found = {}
    for table in ("alerts", "parts"):
        times = []
        for _ in range(20):
            plan = world.alert(BY_ID.format(table, ids))[0][0][0]
            times.append(plan["Planning Time"] + plan["Execution Time"])
        found[f"100 alerts by id, {table} (ms)"] = round(statistics.median(times), 2)
    begun = time.perf_counter()
    world.alert("DROP TABLE parts_5")
    found["drop of one partition (ms)"] = round((time.perf_counter() - begun) * 1000, 1)
    return found


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--alerts", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=13)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with guarded_directory() as root:
        figures = _measured(root, arguments.alerts, arguments.rounds)
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _measured(root: Path, alerts: int, rounds: int) -> dict[str, Any]:
    postgres = TestPostgres(root / "pg", _SERVER)
    postgres.root.mkdir(mode=0o711)
    postgres.start()
    figures: dict[str, Any] = {"alerts": alerts}
    try:
        world = _filled(postgres, alerts)
        figures["gently"] = asyncio.run(gently(world))
        postgres.drop_database(world.alert_dsn)
        world = _filled(postgres, alerts)
        figures["one DELETE"] = asyncio.run(at_once(world))
        postgres.drop_database(world.alert_dsn)
        world = _filled(postgres, alerts)
        figures["partitions"] = partitions(world)
        postgres.drop_database(world.alert_dsn)
        world = _filled(postgres, alerts, ended=DAYS)
        figures["half a year (MB)"] = asyncio.run(weighed(world, rounds, alerts // DAYS))
        return figures
    finally:
        postgres.stop("immediate")


def _filled(postgres: TestPostgres, alerts: int, ended: float = 0.0) -> World:
    world = World("", postgres.create_database("alert"), "")
    postgres.apply(world.alert_dsn, SCHEMA)
    fill(world, alerts, DAYS, ended)
    world.alert("ANALYZE")
    return world


if __name__ == "__main__":
    sys.exit(main())
