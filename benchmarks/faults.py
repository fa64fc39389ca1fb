"""The long form of the fault runs: what is done to alert_manager, what it lost, what it doubled.

    .venv/bin/python -m benchmarks.faults [--short] [--only NAME …] [--json FILE]

Starts servers of its own, leaves nothing behind, prints a table and writes JSON. The short forms
run in the tests (tests/plugins/test_faults.py). The long form takes about 25 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from src.plugins.alert_manager.utils import eventos
from tests.plugins import fault_runs, fault_runs_servers
from tests.plugins.conftest import World
from tests.plugins.fault_runs import Outcome
from tests.support.servers import TestPostgres, TestRedis, guarded_directory

PROJECT = Path(__file__).resolve().parent.parent
CORE_SCHEMA = PROJECT / "configs" / "core" / "schema.sql"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run needs: fresh databases, the servers, and a folder of its own."""

    world: World
    postgres: TestPostgres
    redis: TestRedis
    home: Path
    short: bool

    def size(self, long: int, short: int) -> int:
        """Returns the run's size."""
        return short if self.short else long


Run = Callable[[Setting], Awaitable[Outcome]]


async def _polls(setting: Setting) -> Outcome:
    rows = setting.size(1_000_000, 100_000)
    figures = await fault_runs.idle_polls(setting.world, rows, 1000)
    return Outcome(f"{rows} rows", rows, 0, 0, figures)


RUNS: Mapping[str, Run] = {
    "writers": lambda s: fault_runs.random_writers(s.world, s.size(60, 6)),
    "kills": lambda s: fault_runs.kills(s.world, s.home, s.size(200, 3)),
    "redis": lambda s: fault_runs_servers.redis_away(s.world, s.redis, s.size(10, 3)),
    "crashes": lambda s: fault_runs_servers.crashes(s.world, s.postgres, s.size(20, 2)),
    "instances": lambda s: fault_runs.instances(s.world, s.home, s.size(50_000, 3_000)),
    "polls": _polls,
    "silent corec_db": lambda s: fault_runs_servers.black_hole(s.world, "corec_db", 16.0),
    "silent alert_db": lambda s: fault_runs_servers.black_hole(s.world, "alert_db", 16.0),
}


def main() -> int:
    """Runs what was asked for; returns 1 when anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--short", action="store_true", help="the sizes of a quick look")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.short:
        eventos.PROBE_INTERVAL = 2.0  # ids drawn early are found at a probe of retired holes
    outcomes: dict[str, Outcome] = {}
    with guarded_directory() as root:
        for name in arguments.only:
            outcomes[name] = _run(root, name, arguments.short)
            print(_line(name, outcomes[name]), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(_report(outcomes), encoding="utf-8")
    return int(any(outcome.lost or outcome.doubled for outcome in outcomes.values()))


def _run(root: Path, name: str, short: bool) -> Outcome:
    """Runs one on fresh servers: what a fault leaves behind belongs to it alone."""
    home = root / name.replace(" ", "-")
    postgres, redis = TestPostgres(home / "pg"), TestRedis(home / "redis")
    for server in (postgres, redis):
        server.root.mkdir(parents=True, mode=0o711)
    home.chmod(0o711)
    postgres.start()
    redis.start()
    try:
        corec_dsn = postgres.create_database("corec", owner="corec_user")
        postgres.apply(corec_dsn, CORE_SCHEMA)
        alert_dsn = postgres.create_database("alert", owner="alert_user")
        os.environ.update(COREC_HTTP_PORT="0", COREC_HOME=str(home / "home"))
        world = World(corec_dsn, alert_dsn, redis.url)
        return asyncio.run(_awaited(RUNS[name], Setting(world, postgres, redis, home, short)))
    finally:
        redis.stop()
        postgres.stop("immediate")


async def _awaited(run: Run, setting: Setting) -> Outcome:
    return await run(setting)


def _line(name: str, outcome: Outcome) -> str:
    figures = "; ".join(f"{what} {value:.4g}" for what, value in outcome.figures.items())
    return (
        f"{name:16} {outcome.done:34} events {outcome.events:>7}  lost {outcome.lost}  "
        f"doubled {outcome.doubled}  {figures}"
    )


def _report(outcomes: Mapping[str, Outcome]) -> str:
    machine = {"python": sys.version.split()[0], "system": platform.system()}
    machine |= {"cores": str(os.cpu_count()), "time": time.strftime("%Y-%m-%d %H:%M")}
    runs = {name: asdict(outcome) for name, outcome in outcomes.items()}
    return json.dumps({"machine": machine, "runs": runs}, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
