"""Runs of one fault each: servers that hang, fall silent or crash. Sizes as in fault_runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from psycopg2.extensions import make_dsn

from tests.plugins.conftest import World, eventually
from tests.plugins.fault_runs import (
    Committed,
    Outcome,
    compare,
    load,
    loop_lag,
    percentile,
)
from tests.plugins.payloads import event
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres, TestRedis


async def redis_away(world: World, server: TestRedis, seconds: float) -> Outcome:
    """Redis is flushed, stopped, and hangs (SIGSTOP), for so long each; 100 events a second."""
    committed = Committed()
    phases: dict[str, tuple[float, float]] = {}

    @asynccontextmanager
    async def phase(name: str) -> AsyncIterator[None]:
        started = time.time()
        yield
        await asyncio.sleep(seconds)
        phases[name] = (started, time.time())

    async with world.running():
        with load(world, committed, 0.01):
            await asyncio.sleep(1.0)
            async with phase("normal"):
                pass
            async with phase("flushed"):
                server.command("FLUSHALL")
            async with phase("stopped"):
                await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(3.0)  # its breaker closes
            pid = server.pid()
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                async with phase("hung"):
                    pass
                async with phase("hung, breaker open"):
                    pass
            finally:
                os.kill(pid, signal.SIGCONT)
        lost, doubled = await compare(world, committed.names, 60.0)
    figures = {}
    for name, (start, end) in phases.items():
        latencies = _latencies(world, start, end)
        figures[f"{name}: p50, ms"] = percentile(latencies, 0.5) * 1000
        figures[f"{name}: p99, ms"] = percentile(latencies, 0.99) * 1000
    return Outcome(f"3 × {seconds:g} s", len(committed.names), lost, doubled, figures)


def _latencies(world: World, start: float, end: float) -> list[float]:
    """Returns seconds from an event's time to the commit of its alert, of events in between."""
    sql = (
        "SELECT extract(epoch FROM created_at)::float8 - timestamp FROM alerts"
        " WHERE timestamp BETWEEN %s AND %s"
    )
    return [float(row[0]) for row in world.alert(sql, (start, end))]


async def crashes(world: World, server: TestPostgres, count: int) -> Outcome:
    """The database server crashes (immediate stop) and comes back, again and again."""
    committed = Committed()
    back: list[float] = []
    async with world.running():
        with load(world, committed, 0.005):
            for number in range(count):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.stop, "immediate")
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.start)
                started = time.monotonic()
                marker = await asyncio.to_thread(world.write, "alertas", event(f"marker-{number}"))
                committed.add([f"marker-{number}"])
                await eventually(partial(_is_stored, world, marker), 30.0)
                back.append(time.monotonic() - started)
        # A commit may have reached the disk without its answer reaching the writer.
        names = await asyncio.to_thread(stored_names, world)
        assert set(committed.names) <= set(names)
        lost, doubled = await compare(world, names, 60.0)
    figures = {"reading again after, s (longest)": max(back)}
    return Outcome(f"{count} crashes", len(names), lost, doubled, figures)


def stored_names(world: World) -> list[str]:
    sql = "SELECT convert_from(datos, 'UTF8')::jsonb ->> 'plugin' FROM eventos WHERE canal = %s"
    return [row[0] for row in world.corec(sql, ("alertas",))]


def _is_stored(world: World, event_id: int) -> bool:
    return bool(world.alert("SELECT 1 FROM alerts WHERE event_id = %s", (event_id,)))


async def black_hole(world: World, database: str, seconds: float) -> Outcome:
    """A database accepts packets and answers nothing, for so long; then new connections pass."""
    dsn = world.corec_dsn if database == "corec_db" else world.alert_dsn
    committed = Committed()
    with postgres_proxy(dsn) as (cut, parameters):
        through = make_dsn(**parameters)
        behind = World(
            through if database == "corec_db" else world.corec_dsn,
            through if database == "alert_db" else world.alert_dsn,
            world.redis_url,
            world.config,
        )
        stop = asyncio.Event()
        async with behind.running() as processor:
            with load(world, committed, 0.02):
                await asyncio.sleep(1.0)
                measuring = asyncio.create_task(loop_lag(stop))
                cut.freeze()
                frozen = time.monotonic()
                while (await processor.salud()).parts["lector"].ok:
                    assert time.monotonic() - frozen < 60
                    await asyncio.sleep(0.1)
                noticed = time.monotonic() - frozen
                await asyncio.sleep(max(0.0, seconds - noticed))
                cut.thaw()
                stop.set()
                lags = await measuring
            lost, doubled = await compare(world, committed.names, 90.0)
    figures = {
        "noticed after, s": noticed,
        "loop lag p99, ms": percentile(lags, 0.99) * 1000,
        "loop lag, longest, ms": max(lags) * 1000,
    }
    done = f"{database} silent for {seconds:g} s"
    return Outcome(done, len(committed.names), lost, doubled, figures)
