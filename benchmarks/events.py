"""How many events a second become durable alerts, beside what the two databases give at most.

    .venv/bin/python -m benchmarks.events [--events 100000] [--rounds 5] [--json FILE]

In each round, on servers of its own, Redis among them: **a**, a plain psycopg2 cursor that reads
the same rows in batches of 2,000, the median of five times; **b**, COPY of the same alerts into a
table with the same indexes; and the real plugin, as it ships, from the commit of all events to the
commit of the last alert, and to the last message of its three channels, which give way until then.
Prints a table of medians and writes JSON. Takes about eight minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import statistics
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg2

from benchmarks.backtest import READ
from benchmarks.loads import LOADS, Load
from benchmarks.loads import events as made_events
from benchmarks.servers import durable_postgres, fresh_world, private_redis
from src.utils.garbage import look_seldom
from tests.plugins.conftest import World
from tests.plugins.histories import insert
from tests.support.servers import TestPostgres, TestRedis

_BATCH = 2000  # rows
_WAIT = 600.0  # seconds for one run
_READS = 5  # of the same rows: once takes a tenth of a second
_TURN = 0.02  # seconds between two looks whether it is done
PENDING = "SELECT count(*) FROM notifications WHERE status = 'pending'"
_READ = (
    "SELECT id, canal, timestamp, instance_id, octet_length(datos), datos FROM eventos"
    " WHERE id > %s ORDER BY id LIMIT %s"
)


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one load; rates in rows a second.

    Attributes:
        events: that the plugin judged.
        alerts: that it stored, without repeats.
        told: events until all messages about them were sent, too.
        limit_a: rows that a plain cursor reads.
        limit_b: the same alerts by COPY; None where there are too few to be measured.
        share_a: the plugin's events in a second, as a share of a.
        share_b: its alerts in a second, as a share of b.
    """

    events: float
    alerts: float
    told: float
    limit_a: float
    limit_b: float | None
    share_a: float
    share_b: float | None


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loads", nargs="*", choices=[*LOADS], default=[*LOADS])
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found: dict[str, list[Round]] = {name: [] for name in arguments.loads}
    with durable_postgres() as postgres, private_redis() as redis:
        for _ in range(arguments.rounds):
            for name in arguments.loads:
                found[name].append(_round(postgres, redis, LOADS[name], arguments.events))
    _print(found)
    if arguments.json is not None:
        figures = {name: [asdict(one) for one in rounds] for name, rounds in found.items()}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _round(postgres: TestPostgres, redis: TestRedis, load: Load, events: int) -> Round:
    world, seconds, told = judged(postgres, redis, load, events)
    limit_a = events / statistics.median(_read(world.corec_dsn, events) for _ in range(_READS))
    alerts, copied = _copy(world.alert_dsn)
    limit_b = alerts / copied if alerts >= events // 10 else None
    return Round(
        events=events / seconds,
        alerts=alerts / seconds,
        told=events / told,
        limit_a=limit_a,
        limit_b=limit_b,
        share_a=events / seconds / limit_a,
        share_b=None if limit_b is None else alerts / seconds / limit_b,
    )


def judged(
    postgres: TestPostgres, redis: TestRedis, load: Load, events: int
) -> tuple[World, float, float]:
    """Lets the plugin, as it ships, judge events in databases of their own.

    Returns:
        The databases, and the seconds from the events' commit to that of what they come to, and
        until all of it is told.
    """
    world = fresh_world(postgres, redis)
    world.config["config"]["reader"] = {"start_from": "beginning"}
    return world, *asyncio.run(_run(world, load, events))


async def _run(world: World, load: Load, events: int) -> tuple[float, float]:
    given_up = threading.Event()  # Ctrl-C does not wait until the time is over
    async with world.running() as processor:
        await processor.procesar({}, {})  # it has read that there is nothing
        look_seldom()  # as main.py does
        made = made_events(load, events, time.time())
        await asyncio.to_thread(insert, world.corec_dsn, made)
        began = time.perf_counter()
        try:
            await asyncio.to_thread(until_judged, world.alert_dsn, events, given_up)
            stored = time.perf_counter() - began
            await asyncio.to_thread(_until_told, world, given_up)
            return stored, time.perf_counter() - began
        finally:
            given_up.set()


def until_judged(dsn: str, last: int, given_up: threading.Event) -> None:
    """Waits until the event with this id is judged, and what it comes to is committed."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    deadline = time.monotonic() + _WAIT
    with connection.cursor() as cursor:
        while True:
            cursor.execute(READ)
            found = cursor.fetchone()
            if found is not None and found[0] >= last:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {last} after {_WAIT} s")
            if given_up.wait(_TURN):
                break
    connection.close()


def _until_told(world: World, given_up: threading.Event) -> None:
    deadline = time.monotonic() + _WAIT
    while (pending := world.alert(PENDING)[0][0]) and not given_up.wait(_TURN):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{pending} messages not sent after {_WAIT} s")


def _read(dsn: str, rows: int) -> float:
    """Returns the seconds that a plain cursor takes for the first `rows` rows."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    last = 0
    began = time.perf_counter()
    with connection.cursor() as cursor:
        while last < rows:
            cursor.execute(_READ, (last, _BATCH))
            last = cursor.fetchall()[-1][0]
    took = time.perf_counter() - began
    connection.close()
    return took


def _copy(dsn: str) -> tuple[int, float]:
    """Copies the stored alerts into an empty table like theirs: how many, and the seconds."""
    connection = psycopg2.connect(dsn)
    rows = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT * FROM alerts) TO STDOUT", rows)
        alerts = cursor.rowcount
        cursor.execute("CREATE TABLE alerts_limit (LIKE alerts INCLUDING ALL)")
        connection.commit()
        rows.seek(0)
        began = time.perf_counter()
        cursor.copy_expert("COPY alerts_limit FROM STDIN", rows)
        connection.commit()
        took = time.perf_counter() - began
    connection.close()
    return alerts, took


def _print(found: dict[str, list[Round]]) -> None:
    print(
        f"{'load':12} {'events/s':>9} {'alerts/s':>9} {'all told':>9} {'a/s':>9} {'b/s':>9}"
        f" {'of a':>6} {'of b':>6}"
    )
    for name, rounds in found.items():
        a = statistics.median(one.share_a for one in rounds)
        b = [one.share_b for one in rounds if one.share_b is not None]
        limits = [one.limit_b for one in rounds if one.limit_b is not None]
        print(
            f"{name:12} {statistics.median(one.events for one in rounds):9,.0f}"
            f" {statistics.median(one.alerts for one in rounds):9,.0f}"
            f" {statistics.median(one.told for one in rounds):9,.0f}"
            f" {statistics.median(one.limit_a for one in rounds):9,.0f}"
            f" {f'{statistics.median(limits):,.0f}' if limits else '':>9}"
            f" {a:6.3f} {f'{statistics.median(b):.3f}' if b else '':>6}"
        )


if __name__ == "__main__":
    sys.exit(main())
