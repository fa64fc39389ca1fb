"""How far several processes carry, on one machine: 1, 2 and 4 of them.

    .venv/bin/python -m benchmarks.instances [--events 40000] [--rounds 3] [--json FILE]

`main.py` as processes, on servers of their own; of their events a tenth are alerts. In each round
and for each number of processes:

- together: all on the same databases; one of them reads, and all of them tell;
- apart: each on two databases and a Redis of its own, which share the events: what several
  families, or the writers of one divided among several tables, come to.

Events a second until the last is judged, and messages a second until the last is told, from the
commit of all events on. Prints medians and writes JSON. Takes about six minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.events import PENDING, until_judged
from benchmarks.loads import LOADS
from benchmarks.loads import events as made_events
from benchmarks.servers import durable_postgres, fresh_world, private_redis, until
from tests.plugins.histories import inserting
from tests.plugins.hosts import health, host
from tests.support.servers import TestPostgres, guarded_directory

PROCESSES = (1, 2, 4)
_WAIT = 300.0  # seconds for each thing that is waited for
_TOLD = "SELECT count(*) FROM notifications WHERE status = 'sent'"


@dataclass(frozen=True, slots=True)
class Run:
    """What some processes did, in rows a second.

    Attributes:
        events: that were judged, until the last one was.
        told: messages, until none was left.
    """

    events: float
    told: float


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="*", default=[*PROCESSES])
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found: dict[str, list[Run]] = {}
    with durable_postgres(max_connections="200") as postgres:
        for _ in range(arguments.rounds):
            for number in arguments.processes:
                # One by itself is both.
                for name, run in (("together", together), ("apart", apart))[: 1 + (number > 1)]:
                    one = run(postgres, number, arguments.events)
                    found.setdefault(f"{number} {name}", []).append(one)
    _print(found)
    if arguments.json is not None:
        figures = {name: [asdict(one) for one in runs] for name, runs in found.items()}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def together(postgres: TestPostgres, processes: int, events: int) -> Run:
    """Lets processes share databases."""
    return _run(postgres, 1, processes, events)


def apart(postgres: TestPostgres, processes: int, events: int) -> Run:
    """Gives each process databases, and its share of the events."""
    return _run(postgres, processes, processes, events)


def _run(postgres: TestPostgres, shares: int, processes: int, events: int) -> Run:
    share = events // shares
    with guarded_directory() as root, ExitStack() as hosts:
        redises = [hosts.enter_context(private_redis()) for _ in range(shares)]
        worlds = [fresh_world(postgres, redis) for redis in redises]
        for number in range(processes):
            home = root / str(number)
            hosts.enter_context(host(worlds[number % len(worlds)], home, f"corec{number}"))
            until(lambda home=home: bool(health(home)[0]), _WAIT)  # type: ignore[misc]
        with ExitStack() as commits:
            for world in worlds:
                made = made_events(LOADS["10 %"], share, time.time())
                commits.enter_context(inserting(world.corec_dsn, made))
            began = time.perf_counter()
        with ThreadPoolExecutor(len(worlds)) as threads:
            ends = [
                threads.submit(until_judged, world.alert_dsn, share, threading.Event())
                for world in worlds
            ]
            for end in ends:
                end.result()
        judged = time.perf_counter() - began
        until(lambda: not any(world.alert(PENDING)[0][0] for world in worlds), _WAIT)
        told = time.perf_counter() - began
        messages = sum(world.alert(_TOLD)[0][0] for world in worlds)
    return Run(share * len(worlds) / judged, messages / told)


def _print(found: dict[str, list[Run]]) -> None:
    print(f"{'processes':14} {'events/s':>9} {'told/s':>9}")
    for name, runs in found.items():
        print(
            f"{name:14} {statistics.median(one.events for one in runs):9,.0f}"
            f" {statistics.median(one.told for one in runs):9,.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
