"""Storms and quiet hours, from alert_db to real servers: few messages, no crítica missed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.pacing import Pace
from src.plugins.alert_manager.interval_settings import ActiveSettings
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import BreakerSettings, DeliverySettings
from src.plugins.alert_manager.utils.channels.base import Channel
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from src.plugins.alert_manager.utils.notify import Delivery
from src.plugins.alert_manager.utils.outbox import Outbox
from src.plugins.alert_manager.utils.pg import PgSession
from tests.plugins.conftest import World, eventually, unused_spool
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_delivery_faults import alert_db, queue, webhook
from tests.support.discord import DiscordServer
from tests.support.smtp import SmtpServer

__all__ = ["alert_db"]


@asynccontextmanager
async def delivering(
    world: World, channels: dict[str, Channel], pace: Pace, max_age: float = 86400.0
) -> AsyncIterator[Delivery]:
    session = PgSession("t", parse_dsn(world.alert_dsn))
    settings = DeliverySettings(retry_base=0.1, retry_cap=0.3, max_age=max_age)
    breaker = BreakerSettings(max_failures=3, reset_timeout=0.3)
    paces = dict.fromkeys(channels, pace)
    delivery = Delivery(
        Outbox(session), unused_spool(), channels, breaker, settings, Metrics(), paces
    )
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.stop()
        await session.close()


def storm(world: World, channel: str, counts: dict[int, int]) -> None:
    """Puts so many alerts of each severity (4 is crítica) into the queue of a channel."""
    for severity, count in counts.items():
        world.alert(
            "WITH a AS (INSERT INTO alerts (severity, title, message, channel, rule, event_data,"
            " timestamp) SELECT (ARRAY['baja', 'media', 'alta', 'critica'])[%s], 'título ' || n,"
            " 'mensaje ' || n, 'alertas', 'regla' || %s, '{}', 1760000000"
            " FROM generate_series(1, %s) AS n RETURNING id)"
            " INSERT INTO notifications (alert_id, channel, severity) SELECT id, %s, %s FROM a",
            (severity, severity, count, channel, severity),
        )


def texts(smtp: SmtpServer) -> list[tuple[str, str]]:
    """Subject and plain text of each mail."""
    found = []
    for received in smtp.messages:
        body = received.mail.get_body(("plain",))
        assert isinstance(body, EmailMessage)
        found.append((str(received.mail["Subject"]), body.get_content()))
    return found


def mail(smtp: SmtpServer) -> dict[str, Channel]:
    settings = EmailSettings(
        smtp_server=smtp.host, smtp_port=smtp.port, tls="none", sender="a@x.mx", recipient="b@x.mx"
    )
    return {"email": EmailChannel(settings)}


async def test_ten_thousand_alerts_are_a_few_mails_and_every_critical_one_is_named(
    alert_db: World,
) -> None:
    storm(alert_db, "email", {4: 5, 3: 1000, 2: 8995})
    async with SmtpServer() as smtp:
        pace = Pace(per_minute=600, burst=10, digest_above=20)
        async with delivering(alert_db, mail(smtp), pace):
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 10_000}, 60.0)
        mails = texts(smtp)
    assert len(mails) == 6  # five critical ones, each by itself, and the rest
    subjects = [subject for subject, _ in mails]
    assert all("CRÍTICA: título" in subject for subject in subjects[:5])
    assert "ALTA: 9995 alertas juntas: 1000 altas, 8995 medias" in subjects[5]
    assert "- 1000 × ALTA regla3" in mails[5][1]
    assert mails[5][1].count(" — mensaje ") == 10
    ((told,),) = alert_db.alert("SELECT count(*) FROM deliveries WHERE status = 'sent'")
    assert told == 10_000


async def test_very_many_critical_ones_are_one_message_that_names_them(alert_db: World) -> None:
    storm(alert_db, "discord", {4: 60, 1: 5})
    async with DiscordServer() as discord:
        async with delivering(alert_db, webhook(discord), Pace(digest_above=50)):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 65})
        (message,) = discord.messages
    description = message["embeds"][0]["description"]
    assert message["embeds"][0]["title"] == "CRÍTICA: 65 alertas juntas: 60 críticas, 5 bajas"
    assert len(re.findall(r"CRÍTICA: título \d+ \(", description)) == 60


async def test_a_digest_that_fails_is_sent_again_and_loses_nothing(alert_db: World) -> None:
    storm(alert_db, "email", {3: 30})
    async with SmtpServer() as smtp:
        smtp.answers["DATA"] = "451 4.3.0 later"
        async with delivering(alert_db, mail(smtp), Pace(digest_above=20)):
            await eventually(lambda: smtp.commands.count("DATA") >= 2)
            storm(alert_db, "email", {3: 5})
            del smtp.answers["DATA"]
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 35})
        assert 1 <= len(smtp.messages) <= 6
        assert len({m.mail["Message-ID"] for m in smtp.messages}) == len(smtp.messages)


async def test_no_more_messages_than_the_bucket_allows(alert_db: World) -> None:
    for number in range(12):
        queue(alert_db, "email", f"m{number}")
    async with SmtpServer() as smtp:
        started = time.monotonic()
        async with delivering(alert_db, mail(smtp), Pace(per_minute=240, burst=2)):
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 12})
        assert time.monotonic() - started >= 10 / 4


def office(*, now: datetime, opens_in: timedelta) -> Pace:
    """Hours that begin in a while, and a zone that is always on UTC."""
    begin = now + opens_in
    hours = f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"
    return Pace(active=ActiveSettings(hours=[hours], timezone="UTC").intervals("UTC"))


async def test_in_quiet_hours_only_critical_ones_are_told_and_the_rest_waits(
    alert_db: World,
) -> None:
    quiet = office(now=datetime.now(UTC), opens_in=timedelta(hours=3))
    queue(alert_db, "discord", "critica", severity=4)
    queue(alert_db, "discord", "alta", severity=3)
    queue(alert_db, "discord", "de anoche", severity=3, age="10 hours")
    async with DiscordServer() as discord:
        async with delivering(alert_db, webhook(discord), quiet, max_age=2 * 3600.0):
            await eventually(lambda: len(discord.embeds) == 1)
            await asyncio.sleep(1)
            assert [e["description"] for e in discord.embeds] == ["critica"]
            assert statuses(alert_db, "discord") == {"sent": 1, "pending": 2}
        open_now = office(now=datetime.now(UTC), opens_in=timedelta(minutes=-2))
        async with delivering(alert_db, webhook(discord), open_now, max_age=2 * 3600.0):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 3})


@pytest.mark.parametrize("name", ["email", "discord"])
async def test_channels_come_with_a_limit_of_their_own(world: World, name: str) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["notification_channels"] = ["log", name]
        events: list[dict[str, Any]] = [
            {"action": "withdraw", "amount": 900 + n, "user_id": f"u{n}"} for n in range(300)
        ]
        for event in events:
            world.write("capital_data", to_json(event))
        async with world.running():
            await eventually(lambda: statuses(world, name) == {"sent": 300}, 60.0)
        messages = len(discord.messages) if name == "discord" else len(smtp.messages)
        assert messages <= 30
