"""How long it takes until people know, and what the plugin costs those who write events.

    .venv/bin/python -m benchmarks.latency [--seconds 20] [--rounds 5] [--json FILE]

In each round, on servers of its own, with another process as the writer:

- 50 events a second, each an alert: from the commit of the event to the commit of its alert, both
  by PostgreSQL's own clock of commits.
- 5 alerts a second to a local Discord: from the commit of the event until the server there has it.
- Four writers that write one row after the other, with and without the plugin beside them.

Prints a table of medians of the rounds and writes JSON. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.servers import durable_postgres, fresh_world
from src.utils.garbage import look_seldom
from tests.plugins.conftest import World
from tests.support.discord import DiscordServer
from tests.support.servers import TestPostgres

_EVENTS_PER_SECOND, _ALERTS_PER_SECOND = 50, 5
_WRITERS = 4
_SETTLE = 3.0  # seconds: what a start comes to is not measured
_SYMBOL = re.compile(r"S(\d+)/USDT")
_COMMITTED = "extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"


@dataclass(frozen=True, slots=True)
class Round:
    """One round; milliseconds, but for `slowed`: the share of their rows that writers lose."""

    alert_p50: float
    alert_p99: float
    discord_p50: float
    discord_p99: float
    slowed: float


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with durable_postgres(track_commit_timestamp="on") as postgres:
        rounds = [asyncio.run(_round(postgres, arguments.seconds)) for _ in range(arguments.rounds)]
    for name in asdict(rounds[0]):
        values = [getattr(one, name) for one in rounds]
        unit = "" if name == "slowed" else " ms"
        middle = statistics.median(values)
        print(f"{name:12} {middle:8.3f}{unit}   ({min(values):.3f} to {max(values):.3f})")
    if arguments.json is not None:
        figures = [asdict(one) for one in rounds]
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


async def _round(postgres: TestPostgres, seconds: float) -> Round:
    alerts = await _to_alert(fresh_world(postgres), seconds)
    discord = await _to_discord(fresh_world(postgres), seconds)
    return Round(
        alert_p50=_percentile(alerts, 50),
        alert_p99=_percentile(alerts, 99),
        discord_p50=_percentile(discord, 50),
        discord_p99=_percentile(discord, 99),
        slowed=await _slowed(fresh_world(postgres), seconds),
    )


async def _to_alert(world: World, seconds: float) -> list[float]:
    """Returns milliseconds from the commit of each event to that of its alert."""
    async with world.running():
        await _settle()
        await _write(world, seconds, _EVENTS_PER_SECOND, 1)
        await asyncio.sleep(1.0)
    written = dict(world.corec(f"SELECT id, {_COMMITTED} FROM eventos"))
    stored = world.alert(f"SELECT event_id, {_COMMITTED} FROM alerts WHERE rule = 'perdida'")
    return [1000 * (moment - written[event_id]) for event_id, moment in stored]


async def _to_discord(world: World, seconds: float) -> list[float]:
    """Returns milliseconds from the commit of each event until a local Discord had its message."""
    async with DiscordServer() as discord:
        world.config["notification_config"]["discord"] = {
            "enabled": True,
            "webhook_url": discord.webhook_url,
        }
        async with world.running():
            await _settle()
            await _write(world, seconds, _ALERTS_PER_SECOND, 1)
            await asyncio.sleep(1.0)
        got = {
            int(found[1]): request.clock
            for request in discord.requests
            for embed in request.payload.get("embeds", ())
            if (found := _SYMBOL.search(embed["title"])) is not None
        }
    rows = world.corec(
        f"SELECT {_COMMITTED} FROM eventos WHERE canal = 'trading_results' ORDER BY id"
    )
    return [1000 * (got[n] - moment) for n, (moment,) in enumerate(rows) if n in got]


async def _slowed(world: World, seconds: float) -> float:
    """Returns the share of their rows that four writers lose by the plugin's presence."""
    alone = await _writers(world, seconds)
    async with world.running():
        await _settle()
        beside = await _writers(world, seconds)
    return 1 - beside / alone


async def _writers(world: World, seconds: float) -> float:
    return sum(await asyncio.gather(*(_write(world, seconds) for _ in range(_WRITERS))))


async def _settle() -> None:
    await asyncio.sleep(_SETTLE)
    look_seldom()  # as main.py does


async def _write(world: World, seconds: float, *rest: float) -> float:
    """Lets a process write; returns its rows a second."""
    arguments = (world.corec_dsn, str(seconds), *map(str, rest))
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.writer", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await writer.communicate()
    return float(output)


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    sys.exit(main())
