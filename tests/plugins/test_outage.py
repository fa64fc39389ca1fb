"""alert_db away for half a minute under events, as a host of its own lives through it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psycopg2
import psycopg2.extras
import pytest
import yaml

from tests.plugins.conftest import World, eventually
from tests.plugins.hosts import host
from tests.plugins.test_degraded import alert_server, stored, told, until_settled
from tests.plugins.test_delivery import tell
from tests.support.discord import DiscordServer
from tests.support.servers import TestPostgres

__all__ = ["alert_server"]


def resident(pid: int) -> float:
    """The memory that a process holds, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def write_trades(world: World, first: int, count: int) -> None:
    """Writes trades at once; each tenth is of severity alta."""
    values = [
        ("trading_results", f'{{"profit": {-500 if n % 10 == 0 else 5}, "symbol": "T{n}"}}')
        for n in range(first, first + count)
    ]
    connection = psycopg2.connect(world.corec_dsn)
    with connection, connection.cursor() as cursor:
        sql = (
            "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
            " SELECT canal, datos::bytea, extract(epoch FROM clock_timestamp()), 'corec1'"
            " FROM (VALUES %s) AS v (canal, datos)"
        )
        psycopg2.extras.execute_values(cursor, sql, values)
    connection.close()


@pytest.mark.long
async def test_alert_db_is_away_for_half_a_minute_under_events(
    world: World, alert_server: TestPostgres, server: DiscordServer, tmp_path: Path
) -> None:
    """300 events a second, 30 of them urgent: each is told once, within 10 s, and stored once."""
    tell(world, server, None)
    world.config["notification_config"]["discord"]["digest_above"] = None
    file = tmp_path / "alert_manager.yaml"
    file.write_text(yaml.safe_dump(world.config), encoding="utf-8")
    committed: dict[str, float] = {}
    most = 0.0
    with host(world, tmp_path / "h", environment={"ALERT_MANAGER_CONFIG": str(file)}) as process:
        batch = 0
        until = before = 0.0
        while not until or time.monotonic() < until:
            started = time.monotonic()
            await asyncio.to_thread(write_trades, world, batch * 100, 100)
            committed |= {f"T{batch * 100 + n}": time.monotonic() for n in range(0, 100, 10)}
            batch += 1
            if not until and batch > 10 and told(server, "T0") and stored(world):
                before = resident(process.pid)
                alert_server.kill()
                until = time.monotonic() + 30.0
            most = max(most, resident(process.pid))
            await asyncio.sleep(max(0.0, started + 1 / 3 - time.monotonic()))
        alert_server.start()
        await eventually(lambda: len(stored(world)) >= len(committed), 60.0)
        await until_settled(world)
    assert most - before < 20.0, f"{before:.1f} MiB before, {most:.1f} MiB at the most"
    assert sorted(stored(world)) == sorted(committed)
    at = [
        (embed["title"].split(" en ")[1], request.time)
        for request in server.requests
        for embed in request.payload["embeds"]
        if " en T" in embed["title"]
    ]
    assert sorted(symbol for symbol, _ in at) == sorted(committed)
    assert max(moment - committed[symbol] for symbol, moment in at) < 10.0
