"""What delivery promises, under storms, kills and wrong clocks; and how fast it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg2
import psycopg2.extras
import pytest
import yaml
from aiohttp import web

from benchmarks.webhook import measured
from tests.plugins.conftest import World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_delivery_faults import alert_db, delivering, queue, webhook
from tests.support.discord import DiscordServer, limited
from tests.support.smtp import SmtpServer

__all__ = ["alert_db"]

STORM = 20.0  # seconds
MESSAGES = 1000
WAIT = 75.0  # seconds from a kill until everything is there


@pytest.mark.long
async def test_a_storm_of_429_drops_nothing_and_asks_for_nothing_too_early(
    alert_db: World,
) -> None:
    choose = random.Random(5)
    names: list[str] = []

    def more(count: int) -> None:
        for _ in range(count):
            names.append(f"m{len(names)}")
            queue(alert_db, "discord", names[-1], severity=choose.choice([1, 2, 3, 4]))

    async with DiscordServer() as discord, delivering(alert_db, webhook(discord)) as delivery:
        until = time.monotonic() + STORM
        while time.monotonic() < until:
            wait = choose.uniform(0.3, 1.5)
            discord.always = limited(
                wait, is_global=choose.random() < 0.3, where=choose.choice(["body", "header"])
            )
            await asyncio.to_thread(more, 5)
            delivery.wake(["discord"])
            await asyncio.sleep(0.4)
        assert len(discord.requests) > 10
        assert discord.messages == []
        discord.always = None
        await eventually(lambda: statuses(alert_db, "discord") == {"sent": len(names)})
    assert discord.early == 0
    told = [embed["title"] for embed in discord.embeds]
    order = ["CRÍTICA", "ALTA", "MEDIA", "BAJA"]
    ranks = [order.index(title.split(":")[0]) for title in told]
    assert ranks == sorted(ranks)
    assert len(told) == len(names) > 100


class Inbox:
    """A webhook that takes its time, and what it got."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, list[int]]] = []
        self.port = 0

    @property
    def alerts(self) -> Counter[int]:
        return Counter(alert_id for _, alerts in self.posts for alert_id in alerts)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posts.append((request.headers["webhook-id"], [one["id"] for one in body["alerts"]]))
        await asyncio.sleep(0.5)
        return web.Response()


@asynccontextmanager
async def inbox() -> AsyncIterator[Inbox]:
    opened = Inbox()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/casa", opened.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened.port = runner.addresses[0][1]
    try:
        yield opened
    finally:
        await runner.cleanup()


def losses(world: World, count: int) -> None:
    rows = [
        ("trading_results", to_json({"profit": -500, "symbol": f"S{n}"}).decode())
        for n in range(count)
    ]
    connection = psycopg2.connect(world.corec_dsn)
    with connection, connection.cursor() as cursor:
        sql = (
            "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
            " SELECT canal, datos::bytea, extract(epoch FROM clock_timestamp()), 'corec1'"
            " FROM (VALUES %s) AS v (canal, datos)"
        )
        psycopg2.extras.execute_values(cursor, sql, rows)
    connection.close()


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_kill_9_in_the_middle_of_a_thousand_sends_loses_none(
    world: World, tmp_path: Path, server: DiscordServer
) -> None:
    server.limit, server.window = 30, 2.0
    async with inbox() as casa:
        tell(world, server, None)
        world.config["notification_config"]["discord"]["digest_above"] = None
        world.config["notification_config"]["casa"] = {
            "type": "webhook",
            "url": f"http://127.0.0.1:{casa.port}/casa",
        }
        world.config["notification_channels"].append("casa")
        file = tmp_path / "alert_manager.yaml"
        file.write_text(yaml.safe_dump(world.config), encoding="utf-8")
        environment = {"ALERT_MANAGER_CONFIG": str(file)}
        with host(world, tmp_path / "h", environment=environment) as process:
            await asyncio.to_thread(losses, world, MESSAGES)
            await eventually(lambda: len(server.embeds) >= 250 and len(casa.alerts) >= 200, 60)
            process.kill()
            killed = time.monotonic()
            assert len(server.embeds) < 0.9 * MESSAGES
            assert len(casa.alerts) < 0.9 * MESSAGES
        with host(world, tmp_path / "h", environment=environment):
            await eventually(lambda: len(discord_ids(server)) >= MESSAGES, WAIT)
            await eventually(lambda: len(casa.alerts) >= MESSAGES, WAIT)
            assert time.monotonic() - killed < WAIT
            # Whoever was told and could not say so is told again when the lease ends.
            await eventually(lambda: statuses(world, "discord") == {"sent": MESSAGES}, WAIT)
            await eventually(lambda: statuses(world, "casa") == {"sent": MESSAGES}, WAIT)
            assert time.monotonic() - killed < WAIT
    # What was in flight is told again, and recognised by its id: a batch at the most.
    ids = {alert["id"] for alert in world.alerts() if alert["channel"] == "trading_results"}
    assert set(discord_ids(server)) == set(casa.alerts) == ids
    assert sum(discord_ids(server).values()) - MESSAGES <= 10
    assert sum(casa.alerts.values()) - MESSAGES <= 100


def discord_ids(server: DiscordServer) -> Counter[int]:
    """How often each alert was told, by its id."""
    return Counter(
        int(field["value"])
        for embed in server.embeds
        for field in embed["fields"]
        if field["name"] == "ID de alerta" and "trading" in str(embed)
    )


@pytest.mark.parametrize("shift", [3600.0, -3600.0])
async def test_a_clock_that_jumps_makes_nothing_early_late_or_lost(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    real = time.time
    async with DiscordServer() as discord, SmtpServer() as smtp:
        discord.script.extend([limited(2.0), limited(1.5)])
        smtp.answers["DATA"] = "451 4.3.0 later"
        tell(alert_db, discord, smtp)
        for number in range(30):
            queue(alert_db, "discord", f"m{number}", severity=3)
        queue(alert_db, "email", "mail", severity=3)
        begun = time.monotonic()
        async with alert_db.running():
            await eventually(lambda: len(discord.requests) == 1 and smtp.commands.count("DATA"))
            monkeypatch.setattr(time, "time", lambda: real() + shift)
            await asyncio.sleep(1.0)
            del smtp.answers["DATA"]
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 30})
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 1})
            assert time.monotonic() - begun < 10.0
            await asyncio.sleep(1.0)
    assert discord.early == 0
    told = [embed["description"] for embed in discord.embeds if embed["title"] == "ALTA:"]
    assert sorted(told) == sorted(f"m{number}" for number in range(30))
    assert sum("mail" in m.mail.as_string() for m in smtp.messages) == 1


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_a_thousand_durable_messages_a_second_and_twice_apprise(alert_db: World) -> None:
    """The best of three rounds: machines that run tests do other things, too."""
    rounds = []
    for _ in range(3):
        rounds.append(await measured(alert_db, 3000))
        alert_db.alert("TRUNCATE alerts CASCADE")
    assert max(one.durable for one in rounds) > 1000, rounds
    assert max(one.ratio for one in rounds) > 2.0, rounds


async def test_a_fault_of_ours_in_delivery_is_a_trouble_that_health_sees(alert_db: World) -> None:
    """Such as a row that no program of ours wrote."""
    async with DiscordServer() as server:
        queue(alert_db, "discord")
        alert_db.alert("UPDATE notifications SET progress = '[1]'")
        async with delivering(alert_db, webhook(server)) as delivery:
            await eventually(lambda: delivery.trouble)
            assert delivery.trouble == "fallo inesperado al entregar por discord"
