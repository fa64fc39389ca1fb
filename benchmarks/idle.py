"""What the host costs while nothing happens, and whether its memory grows.

    .venv/bin/python -m benchmarks.idle [--seconds 600] [--events 200000] [--json FILE]

`main.py` as a process, on servers of its own, a new one for each of three measurements:

- idle for the time: processor of the host and of PostgreSQL, as a share of one core; memory;
- the most memory while it reads a backlog, of which a tenth are alerts, at full speed;
- how memory moves under 100 events a second, of which a tenth are alerts: the slope of least
  squares after a minute of warming up.

Prints what is found beside what is wanted and writes JSON; a MB has 2**20 bytes. Takes the time
twice, and three minutes. Needs Linux' /proc.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.events import PENDING, until_judged
from benchmarks.loads import LOADS
from benchmarks.loads import events as made_events
from benchmarks.servers import durable_postgres, fresh_world, private_redis, until
from tests.plugins.conftest import PROJECT, World
from tests.plugins.histories import insert
from tests.plugins.hosts import health, host
from tests.support.servers import TestPostgres, TestRedis, guarded_directory

_WAIT = 120.0  # seconds that a host has to answer, and to tell what waits
_WARM_UP = 60.0  # seconds; a tenth of a shorter measurement
_RATE, _EVERY = 100, 10  # events a second, of which each tenth is an alert
_LOOKS = 600  # at memory, under a steady load
_IDLE_BAR = 0.01  # of one core
_PEAK_BAR = 120.0  # MB
# MB in ten minutes. The smallest object of Python that stayed of each event, 56 bytes, would come
# to 3.2; caches that fill up to their bounds, and what malloc keeps, come to less.
_SLOPE_BAR = 3.0
_MB = float(1 << 20)
_TEN_MINUTES = 600.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing happens: shares of one core, and MB."""

    seconds: float
    host_cpu: float
    postgres_cpu: float
    rss: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """A backlog is read: in how many seconds from the start, and the most MB until all is told."""

    events: int
    seconds: float
    peak: float


@dataclass(frozen=True, slots=True)
class Steady:
    """Events come steadily: MB at first and at last, and by how many it grows in ten minutes.

    `late_slope` is of the second half alone: most of what fills up is full by then.
    """

    written: float
    first: float
    last: float
    slope: float
    late_slope: float


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="idle, and under steady load")
    parser.add_argument("--events", type=int, default=200_000, help="of the backlog")
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with (
        guarded_directory() as root,
        durable_postgres() as postgres,
        private_redis() as redis,
    ):
        bench = _Bench(root, postgres, redis)
        idle = bench.idle(arguments.seconds)
        backlog = bench.backlog(arguments.events)
        steady = bench.steady(arguments.seconds)
    _print(idle, backlog, steady)
    if arguments.json is not None:
        figures = {"idle": asdict(idle), "backlog": asdict(backlog), "steady": asdict(steady)}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


@dataclass(frozen=True, slots=True)
class _Bench:
    """The three measurements, each of a host and databases of its own."""

    root: Path
    postgres: TestPostgres
    redis: TestRedis

    def idle(self, seconds: float) -> Idle:
        """Watches a host to which nothing happens."""
        with self._host(self._world(), "idle") as process:
            time.sleep(_warm_up(seconds))  # what a start comes to is not measured
            began, ours, theirs = time.monotonic(), _cpu(process), self._server_cpu()
            time.sleep(seconds)
            took = time.monotonic() - began
            ours, theirs = _cpu(process) - ours, self._server_cpu() - theirs
            return Idle(took, ours / took, theirs / took, _rss(process))

    def backlog(self, events: int) -> Backlog:
        """Lets a host find events that happened in the last ten minutes."""
        world = self._world()
        insert(world.corec_dsn, made_events(LOADS["10 %"], events, time.time()))
        began = time.monotonic()
        with self._host(world, "backlog") as process:
            until_judged(world.alert_dsn, events, threading.Event())
            seconds = time.monotonic() - began
            until(lambda: not world.alert(PENDING)[0][0], _WAIT)
            return Backlog(events, seconds, _peak(process))

    def steady(self, seconds: float) -> Steady:
        """Lets another process write, and looks at the host's memory meanwhile."""
        world = self._world()
        load = (world.corec_dsn, str(seconds), str(_RATE), str(_EVERY))
        command = (sys.executable, "-m", "benchmarks.writer", *load)
        looks: list[tuple[float, float]] = []
        with (
            self._host(world, "steady") as process,
            subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as writer,
        ):
            try:
                began = time.monotonic()
                while writer.poll() is None:
                    looks.append((time.monotonic() - began, _rss(process)))
                    time.sleep(seconds / _LOOKS)
            finally:
                writer.terminate()
            output, _ = writer.communicate()
        warm = [(at, rss) for at, rss in looks if at >= _warm_up(seconds)]
        late = warm[len(warm) // 2 :]
        return Steady(float(output), warm[0][1], warm[-1][1], _slope(warm), _slope(late))

    def _world(self) -> World:
        return fresh_world(self.postgres, self.redis)

    @contextmanager
    def _host(self, world: World, name: str) -> Iterator[psutil.Process]:
        """A host that answers."""
        home = self.root / name
        with host(world, home) as child:
            until(lambda: bool(health(home)[0]), _WAIT)
            yield psutil.Process(child.pid)

    def _server_cpu(self) -> float:
        """Processor seconds of PostgreSQL, with its sessions of the past."""
        pid = self.postgres.pid()
        assert pid is not None
        server = psutil.Process(pid)
        times = server.cpu_times()
        past = times.children_user + times.children_system
        return past + sum(map(_cpu, [server, *server.children()]))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _rss(process: psutil.Process) -> float:
    return process.memory_info().rss / _MB


def _peak(process: psutil.Process) -> float:
    """Returns the most MB that the process ever had."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) / 1024


def _warm_up(seconds: float) -> float:
    return min(_WARM_UP, seconds / 10)


def _slope(looks: Sequence[tuple[float, float]]) -> float:
    """Returns MB in ten minutes, by least squares."""
    times, sizes = zip(*looks, strict=True)
    return statistics.linear_regression(times, sizes).slope * _TEN_MINUTES


def _print(idle: Idle, backlog: Backlog, steady: Steady) -> None:
    print(f"idle for {idle.seconds:.0f} s")
    print(f"  host        {idle.host_cpu:7.2%} of a core      wanted: below {_IDLE_BAR:.0%}")
    print(f"  PostgreSQL  {idle.postgres_cpu:7.2%}")
    print(f"  memory      {idle.rss:7.1f} MB")
    print(f"a backlog of {backlog.events:,} events, read in {backlog.seconds:.1f} s")
    print(f"  most memory {backlog.peak:7.1f} MB            wanted: below {_PEAK_BAR:g}")
    print(f"{steady.written:.0f} events a second")
    print(f"  memory      {steady.first:7.1f} MB to {steady.last:.1f} MB")
    print(f"  slope       {steady.slope:+7.2f} MB in 10 min  wanted: within {_SLOPE_BAR:g}")
    print(f"  second half {steady.late_slope:+7.2f} MB in 10 min")


if __name__ == "__main__":
    sys.exit(main())
