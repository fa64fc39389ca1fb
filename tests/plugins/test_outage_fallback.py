"""A channel is out of order, its fallback tells, and alert_db is away on top of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Candidate, Said
from src.plugins.alert_manager.untold import Untold
from src.plugins.alert_manager.utils.queue import Again, Due
from src.plugins.alert_manager.utils.spool import Spool
from src.plugins.alert_manager.utils.spool_file import SpoolFile
from src.plugins.alert_manager.utils.spool_queue import SpoolQueue
from tests.plugins.conftest import World, eventually
from tests.plugins.test_degraded import (
    alert_server,
    lose,
    mails,
    quick_start,
    smtp,
    stored,
    until_settled,
)
from tests.plugins.test_delivery import tell
from tests.support.discord import BROKEN, Answer, DiscordServer
from tests.support.servers import TestPostgres
from tests.support.smtp import SmtpServer

__all__ = ["alert_server", "quick_start", "smtp"]


def urgent(number: int, fingerprint: bytes) -> Candidate:
    said = Said("Pérdida", "m")
    return Candidate(
        "eventos",
        number,
        "trading_results",
        "perdida",
        Severity.CRITICA,
        said,
        {},
        1_760_000_000.0,
        None,
        fingerprint,
        3600.0,
        ("discord",),
    )


async def longest_pause(pauses: list[float]) -> None:
    """Notes for how long at most nothing else could run."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.05)
        pauses[0] = max(pauses[0], time.monotonic() - before)


@pytest.mark.long
async def test_a_channel_with_an_open_breaker_stops_nothing_without_alert_db(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    """What it wakes up for fails at once: nothing may spin on that."""
    tell(world, server, smtp)
    world.config["notification_config"]["discord"]["fallback"] = "email"
    world.config["config"]["circuit_breaker"] = {"max_failures": 2, "reset_timeout": 60}
    world.config["config"]["delivery"] = {"retry_base": 0.2, "retry_cap": 0.5}
    pauses = [0.0]
    async with world.running():
        lose(world, "BEFORE")
        await until_settled(world, "BEFORE")
        server.always = BROKEN
        for symbol in ("B0", "B1", "B2"):
            lose(world, symbol)
        await eventually(lambda: all(mails(smtp, s) for s in ("B0", "B1", "B2")), 30.0)
        beat = asyncio.create_task(longest_pause(pauses))
        alert_server.kill()
        await asyncio.sleep(6.0)  # until nobody even asks alert_db any more
        lose(world, "DURING")
        await eventually(lambda: mails(smtp, "DURING"), 30.0)
        alert_server.start()
        await eventually(lambda: "DURING" in stored(world))
        beat.cancel()
    assert mails(smtp, "DURING") == 1
    assert pauses[0] < 5.0


async def test_what_is_refused_without_alert_db_is_told_once_by_the_fallback(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    tell(world, server, smtp)
    world.config["notification_config"]["discord"]["fallback"] = "email"
    world.config["alert_config"]["routing"] = {"default": ["discord"]}
    async with world.running():
        lose(world, "BEFORE")
        await until_settled(world, "BEFORE")
        alert_server.kill()
        server.always = Answer(400, {"message": "bad", "code": 50035})
        lose(world, "DURING")
        await eventually(lambda: mails(smtp, "DURING"), 20.0)
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
    assert mails(smtp, "DURING") == 1


async def test_no_hold_outlives_its_message(tmp_path: Path) -> None:
    """What a channel put off is told by its fallback: the next one is not put off with it."""
    spool = Spool(SpoolFile(tmp_path / "s.sqlite3"), Untold())
    queue = SpoolQueue(spool)
    due = Due("discord", 86_400.0)
    await spool.add([urgent(1, b"a" * 16)], "eventos")
    claim = await queue.claim(due, 1)
    assert claim is not None
    await queue.retry(claim, Again(300.0, "502"), None)
    assert await queue.hand_over(due, "email")
    assert spool.held == {}
    await spool.add([urgent(2, b"b" * 16)], "eventos")
    assert spool.has_due("discord")
