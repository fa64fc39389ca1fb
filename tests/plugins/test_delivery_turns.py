"""Whose turn it is: channels that have to wait, their fallbacks, digests that come apart."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.delivery import Retry, Sent
from src.plugins.alert_manager.domain.errors import DatabaseUnavailableError
from src.plugins.alert_manager.domain.pacing import Pace
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import BreakerSettings, DeliverySettings
from src.plugins.alert_manager.utils import worker
from src.plugins.alert_manager.utils.channels.base import Channel
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from src.plugins.alert_manager.utils.condition import Condition
from src.plugins.alert_manager.utils.notify import Delivery
from src.plugins.alert_manager.utils.outbox import Outbox
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.queue import Due
from tests.plugins.conftest import World, eventually, unused_spool
from tests.plugins.test_delivery import statuses
from tests.plugins.test_delivery_faults import alert_db, queue, webhook
from tests.plugins.test_storms import office, storm, texts
from tests.support.discord import BROKEN, Answer, DiscordServer, limited
from tests.support.smtp import Received, SmtpServer

__all__ = ["alert_db"]


class Heard:
    """What is said of channels."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def channel_down(self, name: str, reason: str) -> None:
        self.said.append(("down", name))

    def channel_up(self, name: str) -> None:
        self.said.append(("up", name))

    def given_up(self, name: str, count: int, reason: str, fallback: str | None = None) -> None:
        self.said.append(("given up", name))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_FLOOR", 0.2)


@asynccontextmanager
async def delivering(
    world: World,
    channels: dict[str, Channel],
    paces: Mapping[str, Pace] | None = None,
    heard: Heard | None = None,
    max_failures: int = 3,
) -> AsyncIterator[Delivery]:
    session = PgSession("t", parse_dsn(world.alert_dsn))
    delivery = Delivery(
        Outbox(session),
        unused_spool(),
        channels,
        BreakerSettings(max_failures=max_failures, reset_timeout=0.3),
        DeliverySettings(retry_base=0.1, retry_cap=0.3),
        Metrics(),
        paces,
        None,
        heard,
    )
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.stop()
        await session.close()


def mail(smtp: SmtpServer, recipient: str = "b@x.mx") -> Channel:
    settings = EmailSettings(
        smtp_server=smtp.host, smtp_port=smtp.port, tls="none", sender="a@x.mx", recipient=recipient
    )
    return EmailChannel(settings)


def alerts_in(received: Received) -> int:
    """How many alerts a mail tells of."""
    number = re.search(r"(\d+) alertas", str(received.mail["Subject"]))
    return 1 if number is None else int(number[1])


@pytest.mark.parametrize(
    "answer", [limited(7200), Answer(503, "x", {"Retry-After": "7200"})], ids=["429", "503"]
)
async def test_a_channel_that_has_to_wait_for_hours_lets_its_fallback_tell(
    alert_db: World, answer: Answer
) -> None:
    queue(alert_db, "discord", "una", severity=4)
    heard = Heard()
    async with DiscordServer() as discord, SmtpServer() as smtp:
        discord.always = answer
        channels = {**webhook(discord), "email": mail(smtp)}
        paces = {"discord": Pace(fallback="email")}
        async with delivering(alert_db, channels, paces, heard) as delivery:
            await eventually(lambda: len(smtp.messages) == 1)
            queue(alert_db, "discord", "otra", severity=4)
            await eventually(lambda: len(smtp.messages) == 2, 10)
            assert [said for said in heard.said if said[1] == "discord"] == [("down", "discord")]
            assert delivery.states()["discord"].open
    assert len(discord.requests) == 1


async def test_a_channel_that_waited_for_hours_and_works_is_said_to(alert_db: World) -> None:
    """Also where the last thing that its server asked for was a short wait."""
    heard = Heard()
    condition = Condition("discord", BreakerSettings(max_failures=3), heard)
    for wait in (7200.0, 1.0, 7200.0):
        condition.learn(Retry("límite", after=wait, throttled=True))
    assert heard.said == [("down", "discord")]
    condition.learn(Retry("límite", after=1.0, throttled=True))
    condition.learn(Sent())
    condition.learn(Sent())
    assert heard.said == [("down", "discord"), ("up", "discord")]


async def test_who_waits_for_alert_db_from_the_start_does_not_spin(
    alert_db: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def away(self: Outbox, *_: object, **__: object) -> float:
        nonlocal asked
        asked += 1
        raise DatabaseUnavailableError("no responde")

    monkeypatch.setattr(Outbox, "hold", away)
    async with DiscordServer() as discord, delivering(alert_db, webhook(discord)) as delivery:
        delivery.wake(["discord"])
        await asyncio.sleep(1.5)
    assert 1 <= asked <= 10


async def test_what_a_server_asked_for_counts_after_a_restart_and_for_others(
    alert_db: World,
) -> None:
    for number in range(30):
        queue(alert_db, "discord", f"m{number}", severity=4)
    async with DiscordServer() as discord:
        discord.script.append(limited(3.0))
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: len(discord.requests) == 1)
            await eventually(lambda: alert_db.alert("SELECT count(*) FROM channel_holds") == [(1,)])
        async with (
            delivering(alert_db, webhook(discord)),
            delivering(alert_db, webhook(discord)),
        ):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 30})
    assert discord.early == 0
    assert len(discord.embeds) == 30


async def test_who_has_a_digest_does_not_get_it_again_when_another_was_put_off(
    alert_db: World,
) -> None:
    storm(alert_db, "email", {3: 30})
    async with SmtpServer() as smtp:
        smtp.answers["RCPT beto@x.mx"] = "452 4.2.2 mailbox full"
        channels = {"email": mail(smtp, "ana@x.mx, beto@x.mx")}
        async with delivering(alert_db, channels, {"email": Pace(digest_above=20)}):
            await eventually(lambda: smtp.commands.count("RCPT") >= 5)
            storm(alert_db, "email", {3: 25})  # what comes meanwhile is in another one
            await eventually(lambda: sum(map(alerts_in, smtp.messages)) == 55, 10)
            del smtp.answers["RCPT beto@x.mx"]
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 55})
    told: dict[str, list[int]] = {}
    for message in smtp.messages:
        for recipient in message.recipients:
            told.setdefault(recipient, []).append(alerts_in(message))
    # One of the 25 goes alone where they come between the look for a storm and the claim.
    for counts in told.values():
        assert sorted(counts) in ([25, 30], [1, 24, 30]), told
    assert sorted(told) == ["ana@x.mx", "beto@x.mx"]


@pytest.mark.parametrize("count", [4, 30])
async def test_who_was_put_off_for_one_alert_is_told_all_others(
    alert_db: World, count: int
) -> None:
    """One by one or in a digest: what ana has of one alert is not what she has of others."""
    queue(alert_db, "email", "la primera", severity=4)
    alert_db.alert(
        "UPDATE notifications SET progress = %s",
        (json.dumps({"remaining": ["beto@x.mx"], "refused": "", "told": True, "digest": ""}),),
    )
    storm(alert_db, "email", {3: count})
    async with SmtpServer() as smtp:
        channels = {"email": mail(smtp, "ana@x.mx, beto@x.mx")}
        async with delivering(alert_db, channels, {"email": Pace(digest_above=20)}):
            await eventually(lambda: statuses(alert_db, "email") == {"sent": count + 1})
    told = Counter(recipient for m in smtp.messages for recipient in m.recipients)
    others = 1 if count > 20 else count
    assert told == {"ana@x.mx": others, "beto@x.mx": others + 1}


async def test_a_rejected_digest_comes_apart_by_halves(alert_db: World) -> None:
    storm(alert_db, "email", {3: 500})
    async with SmtpServer() as smtp:
        smtp.answers["DATA"] = "554 5.7.1 looks like spam"
        async with delivering(alert_db, {"email": mail(smtp)}, {"email": Pace(digest_above=20)}):
            await eventually(lambda: smtp.commands.count("DATA") >= 1)
            del smtp.answers["DATA"]
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 500}, 60)
    assert len(smtp.messages) <= 20


async def test_the_end_is_told_after_its_alert(alert_db: World) -> None:
    queue(alert_db, "discord", "se cayó", severity=4)
    alert_db.alert("UPDATE notifications SET next_attempt_at = now() + interval '2 seconds'")
    alert_db.alert("UPDATE alerts SET status = 'resuelta', resolution = 'volvió'")
    alert_db.alert(
        "INSERT INTO notifications (alert_id, channel, severity, kind)"
        " SELECT id, 'discord', 4, 'recovery' FROM alerts"
    )
    async with DiscordServer() as discord, delivering(alert_db, webhook(discord)):
        await eventually(lambda: statuses(alert_db, "discord") == {"sent": 2})
    titles = [embed["title"].split(":")[0] for embed in discord.embeds]
    assert titles == ["CRÍTICA", "RESUELTA"]
    assert discord.embeds[0]["description"].startswith("Ya está resuelta.")


async def test_what_a_fallback_of_a_fallback_told_is_told(alert_db: World) -> None:
    queue(alert_db, "a", "crítica", severity=4)
    async with DiscordServer() as a, DiscordServer() as b, SmtpServer() as smtp:
        a.always = b.always = BROKEN
        channels = {"a": webhook(a)["discord"], "b": webhook(b)["discord"], "email": mail(smtp)}
        paces = {"a": Pace(fallback="b"), "b": Pace(fallback="email")}
        async with delivering(alert_db, channels, paces):
            await eventually(lambda: statuses(alert_db, "email") == {"sent": 1})
            await eventually(lambda: statuses(alert_db, "b") == {"moved": 1})
            a.always = b.always = None
            await eventually(lambda: statuses(alert_db, "a") == {"moved": 1})
    assert (len(a.embeds), len(b.embeds), len(smtp.messages)) == (0, 0, 1)


async def test_a_channel_that_is_quicker_than_its_fallback_spares_it(alert_db: World) -> None:
    queue(alert_db, "a", "crítica", severity=4)
    async with DiscordServer() as a, SmtpServer() as smtp:
        a.always = BROKEN
        smtp.answers["DATA"] = "451 4.3.0 later"
        channels = {"a": webhook(a)["discord"], "email": mail(smtp)}
        async with delivering(alert_db, channels, {"a": Pace(fallback="email")}):
            await eventually(lambda: statuses(alert_db, "email") == {"pending": 1})
            a.always = None
            await eventually(lambda: statuses(alert_db, "email") == {"moved": 1})
            del smtp.answers["DATA"]
            await asyncio.sleep(1.0)
    assert (len(a.embeds), len(smtp.messages)) == (1, 0)


async def test_a_fallback_keeps_the_quiet_hours_of_its_channel(alert_db: World) -> None:
    quiet = office(now=datetime.now(UTC), opens_in=timedelta(hours=3))
    queue(alert_db, "a", "una crítica", severity=4)
    queue(alert_db, "a", "una alta", severity=3)
    async with DiscordServer() as a, SmtpServer() as smtp:
        a.always = BROKEN
        channels = {"a": webhook(a)["discord"], "email": mail(smtp)}
        async with delivering(alert_db, channels, {"a": replace(quiet, fallback="email")}):
            await eventually(lambda: len(smtp.messages) == 1)
            await asyncio.sleep(1.0)
    ((subject, _),) = texts(smtp)
    assert "CRÍTICA" in subject


async def test_our_own_stop_says_nothing_of_a_channel(alert_db: World) -> None:
    queue(alert_db, "discord", "una", severity=4)
    heard = Heard()
    async with DiscordServer() as discord:
        discord.always = Answer(200, {"id": "1"}, delay=30)
        async with delivering(alert_db, webhook(discord), heard=heard, max_failures=1):
            await asyncio.sleep(0.5)
    assert heard.said == []


async def test_a_server_that_says_again_in_0_s_is_asked_less_and_less(alert_db: World) -> None:
    queue(alert_db, "discord", "una", severity=4)
    async with DiscordServer() as discord:
        discord.always = limited(0.0)
        async with delivering(alert_db, webhook(discord)):
            await asyncio.sleep(5.0)
    times = [request.time for request in discord.requests]
    assert 3 <= len(times) <= 10
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.09


async def test_an_open_breaker_risks_one_message(alert_db: World) -> None:
    for number in range(20):
        queue(alert_db, "discord", f"m{number}")
    async with DiscordServer() as discord:
        discord.always = BROKEN
        async with delivering(alert_db, webhook(discord), max_failures=1):
            await eventually(lambda: len(discord.requests) >= 4)
        sizes = [len(request.payload["embeds"]) for request in discord.requests]
    assert sizes[0] == 10
    assert set(sizes[1:]) == {1}


async def test_what_is_being_sent_is_left_to_its_sender(alert_db: World) -> None:
    """Neither too old nor taken by a fallback, as long as the lease lasts."""
    queue(alert_db, "discord", "una", severity=4)
    async with DiscordServer() as discord, SmtpServer() as smtp:
        discord.always = Answer(200, {"id": "1"}, delay=3.0)
        channels = {**webhook(discord), "email": mail(smtp)}
        paces = {"discord": Pace(fallback="email")}
        async with delivering(alert_db, channels, paces):
            await eventually(lambda: len(discord.requests) == 1)
            session = PgSession("t", parse_dsn(alert_db.alert_dsn))
            outbox = Outbox(session)
            assert not await outbox.hand_over(Due("discord", 86400.0), "email")
            expired = await outbox.expire(0.0, {"discord": "x", "email": "x"}, {}, "x", 10)
            await session.close()
            assert expired == []
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1})
    assert smtp.messages == []


async def test_critical_alerts_go_in_as_many_digests_as_name_them_all(alert_db: World) -> None:
    async with DiscordServer() as discord:
        for number in range(70):
            queue(alert_db, "discord", f"caso {number:02}", severity=4)
        alert_db.alert("UPDATE alerts SET title = message RETURNING id")
        pace = Pace(digest_above=20, names=30)
        async with delivering(alert_db, webhook(discord), {"discord": pace}):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 70})
        texts = " ".join(f"{embed['title']} {embed['description']}" for embed in discord.embeds)
        assert all(f"caso {number:02}" in texts for number in range(70))
        assert len(discord.messages) <= 4  # two digests of thirty, and the last ten one by one


@pytest.mark.parametrize(("severity", "told"), [(4, 1), (3, 1), (2, 0)])
async def test_what_a_server_refuses_for_good_is_told_by_the_fallback(
    alert_db: World, severity: int, told: int
) -> None:
    async with SmtpServer() as smtp, SmtpServer() as other:
        smtp.answers["MAIL"] = "550 5.7.1 sender not allowed any more"
        queue(alert_db, "email", "caso", severity=severity)
        heard = Heard()
        channels = {"email": mail(smtp), "b": mail(other)}
        paces = {"email": Pace(fallback="b")}
        async with delivering(alert_db, channels, paces, heard):
            await eventually(lambda: ("given up", "email") in heard.said)
            await eventually(lambda: statuses(alert_db, "email") == {"dead": 1})
            await eventually(lambda: "pending" not in statuses(alert_db, "b"))
        assert len(other.messages) == told


async def test_what_an_address_was_asked_for_counts_for_it_alone_and_to_its_end(
    alert_db: World,
) -> None:
    async with DiscordServer() as discord, DiscordServer() as other:
        queue(alert_db, "discord")
        discord.script.append(limited(7200))
        async with delivering(alert_db, webhook(discord), {"discord": Pace(target="a")}):
            held = "SELECT extract(epoch FROM until - now()) > 7000 FROM channel_holds"
            await eventually(lambda: alert_db.alert(held) == [(True,)])
        async with delivering(alert_db, webhook(discord), {"discord": Pace(target="a")}) as same:
            await eventually(lambda: same.states()["discord"].open)
        assert len(discord.requests) == 1
        alert_db.alert("UPDATE notifications SET next_attempt_at = now() RETURNING id")
        async with delivering(alert_db, webhook(other), {"discord": Pace(target="b")}):
            await eventually(lambda: len(other.messages) == 1)


async def test_one_of_a_digest_that_came_apart_is_told_with_its_event(alert_db: World) -> None:
    async with SmtpServer() as smtp:
        for number in range(4):
            queue(alert_db, "email", f"caso {number}")
        alert_db.alert('UPDATE alerts SET event_data = \'{"symbol": "BTC/USDT"}\' RETURNING id')
        smtp.answers["DATA"] = "552 5.3.4 too big"
        async with delivering(alert_db, {"email": mail(smtp)}, {"email": Pace(digest_above=2)}):
            await eventually(lambda: smtp.commands.count("DATA") >= 2)
            del smtp.answers["DATA"]
            await eventually(lambda: "pending" not in statuses(alert_db, "email"))
        alone = [m for m in smtp.messages if "juntas" not in str(m.mail["Subject"])]
        assert alone
        for received in alone:
            body = received.mail.get_body(("plain",))
            assert body is not None
            assert "BTC/USDT" in body.get_content()
