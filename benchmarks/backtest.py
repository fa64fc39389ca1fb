"""How fast `alerts.sh backtest` replays, and whether it counts what a running plugin counts.

    .venv/bin/python -m benchmarks.backtest [--events 1000000] [--rounds 5] [--json FILE]

Writes a week of made-up events to servers of its own, lets the real plugin judge them, and replays
them. Prints a table; returns 1 where the counts differ. The long form takes about 6 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from tests.plugins.conftest import PROJECT, World, eventually
from tests.plugins.histories import history, insert
from tests.support.servers import TestPostgres, guarded_directory

CORE_SCHEMA = PROJECT / "configs" / "core" / "schema.sql"
WEEK = 7 * 86400.0  # seconds
READ = "SELECT (position->'hi')::bigint FROM reader_positions WHERE source = 'eventos'"
COUNTS = """
    SELECT rule, severity, count(*) FROM alerts
     WHERE channel <> 'alert_data' GROUP BY rule, severity ORDER BY rule, severity
"""


def main() -> int:
    """Runs it; returns 1 where a replay and the run differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with guarded_directory() as root:
        figures = _measured(root, arguments.events, arguments.rounds)
    for name, value in figures.items():
        print(f"{name:42} {value}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(not figures["counts are equal"])


def _measured(root: Path, events: int, rounds: int) -> dict[str, Any]:
    postgres = TestPostgres(root / "pg")
    postgres.root.mkdir(mode=0o711)
    postgres.start()
    try:
        corec_dsn = postgres.create_database("corec", owner="corec_user")
        postgres.apply(corec_dsn, CORE_SCHEMA)
        alert_dsn = postgres.create_database("alert", owner="alert_user")
        world = World(corec_dsn, alert_dsn, "")
        world.config["config"]["reader"] = {"start_from": "beginning"}
        file = root / "alert_manager.yaml"
        file.write_text(yaml.safe_dump(world.config), encoding="utf-8")
        now = time.time()
        insert(corec_dsn, history(events, now - WEEK, now - 1))
        live = asyncio.run(_live(world))
        environment = {
            **os.environ,
            "ALERT_MANAGER_CONFIG": str(file),
            "COREC_DB_DSN": corec_dsn,
            "ALERT_DB_DSN": alert_dsn,
        }
        replays = [_replay(environment) for _ in range(rounds)]
        return _figures(world, live, replays)
    finally:
        postgres.stop("immediate")


async def _live(world: World) -> float:
    """Lets the plugin judge everything; returns events per second."""
    last = int(world.corec("SELECT max(id) FROM eventos")[0][0])

    def done() -> bool:
        try:
            return bool((found := world.alert(READ)) and found[0][0] >= last)
        except psycopg2.errors.UndefinedTable:
            return False

    started = time.perf_counter()
    async with world.running():
        await eventually(done, 1800.0)
        return last / (time.perf_counter() - started)


def _replay(environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "src.plugins.alert_manager.cli", "backtest"]
    done = subprocess.run(
        [*command, "--since", "beginning", "--json"],
        env=environment,
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _figures(world: World, live: float, replays: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [list(row) for row in world.alert(COUNTS)]
    equal = all(
        sorted([r["rule"], r["severity"], r["replayed"]] for r in found["rules"]) == sorted(counts)
        and not found["changed"]
        for found in replays
    )
    rates = sorted(found["events"] / found["seconds"] for found in replays)
    return {
        "events": replays[0]["events"],
        "alerts": sum(row[2] for row in counts),
        "counts are equal": equal,
        "events/s, running plugin, with its commits": round(live),
        "events/s, backtest, median": round(statistics.median(rates)),
        "events/s, backtest, rounds": [round(rate) for rate in rates],
    }


if __name__ == "__main__":
    sys.exit(main())
