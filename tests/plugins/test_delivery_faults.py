"""Delivery when things go wrong: stops, outages, leases, what is refused, what is too old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.delivery import Attempt, Message, Outcome, Sent
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import BreakerSettings, DeliverySettings
from src.plugins.alert_manager.utils import outbox as outbox_module
from src.plugins.alert_manager.utils import worker
from src.plugins.alert_manager.utils.channels.base import Channel
from src.plugins.alert_manager.utils.channels.discord import DiscordChannel, DiscordSettings
from src.plugins.alert_manager.utils.notify import Delivery
from src.plugins.alert_manager.utils.outbox import LEASE, Outbox
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.queue import Again, Due
from tests.plugins.conftest import SCHEMA, World, eventually, unused_spool
from tests.plugins.test_alert_manager import SPEC_EVENTS
from tests.plugins.test_delivery import statuses, tell, until_health_says, write_spec_events
from tests.support.discord import BROKEN, GONE, Answer, DiscordServer, limited
from tests.support.servers import TestPostgres
from tests.support.smtp import SmtpServer

DAY = 86_400.0


def queue(world: World, channel: str, text: str = "m", severity: int = 4, age: str = "0") -> None:
    """Puts an alert and its notification into alert_db, as a commit would have, `age` ago."""
    world.alert(
        "WITH a AS (INSERT INTO alerts (severity, message, channel, event_data, timestamp)"
        " VALUES ((ARRAY['baja', 'media', 'alta', 'critica'])[%s], %s, 'alertas', '{}', 1760000000)"
        " RETURNING id) INSERT INTO notifications (alert_id, channel, severity, queued_at)"
        " SELECT id, %s, %s, now() - %s::interval FROM a",
        (severity, text, channel, severity, age),
    )


def reasons(world: World, status: str) -> list[str]:
    sql = "SELECT last_error FROM notifications WHERE status = %s ORDER BY id"
    return [row[0] for row in world.alert(sql, (status,))]


@asynccontextmanager
async def delivering(
    world: World,
    channels: dict[str, Channel],
    metrics: Metrics | None = None,
    max_age: float = DAY,
    session: PgSession | None = None,
) -> AsyncIterator[Delivery]:
    """Delivery alone, over the rows that a test put into alert_db."""
    session = session or PgSession("t", parse_dsn(world.alert_dsn))
    delivery = Delivery(
        Outbox(session),
        unused_spool(),
        channels,
        BreakerSettings(max_failures=3, reset_timeout=0.3),
        DeliverySettings(retry_base=0.1, retry_cap=0.3, max_age=max_age),
        metrics or Metrics(),
    )
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.stop()
        await session.close()


def webhook(server: DiscordServer) -> dict[str, Channel]:
    return {"discord": DiscordChannel(DiscordSettings(webhook_url=server.webhook_url, timeout=40))}


@pytest.fixture
def alert_db(world: World) -> World:
    """alert_db with its tables, and nobody at work."""
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    return world


async def test_who_was_put_off_gets_the_mail_later_and_nobody_gets_it_twice(world: World) -> None:
    async with SmtpServer() as smtp:
        tell(world, None, smtp)
        world.config["notification_config"]["email"]["recipient"] = "ana@x.mx, beto@x.mx, eva@x.mx"
        smtp.answers["RCPT beto@x.mx"] = "450 4.2.0 greylisted"
        smtp.answers["RCPT eva@x.mx"] = "550 5.1.1 unknown user"
        async with world.running():
            world.write(*SPEC_EVENTS[0][:2])
            await eventually(lambda: "450 4.2.0" in str(reasons(world, "pending")))
        async with world.running():  # a restart forgets nothing of it
            await eventually(lambda: smtp.commands.count("RCPT") >= 5)
            del smtp.answers["RCPT beto@x.mx"]
            await eventually(lambda: statuses(world, "email") == {"sent": 1})
    assert [m.recipients for m in smtp.messages] == [("ana@x.mx",), ("beto@x.mx",)]
    [(reason, progress)] = world.alert(
        "SELECT last_error, progress FROM notifications WHERE channel = 'email'"
    )
    assert "no acepta a e***@x.mx: 550 5.1.1 unknown user" in reason
    assert progress is None


async def test_one_full_mailbox_does_not_open_the_breaker(world: World) -> None:
    async with SmtpServer() as smtp:
        tell(world, None, smtp)
        world.config["config"]["circuit_breaker"] = {"max_failures": 2, "reset_timeout": 600}
        world.config["notification_config"]["email"]["recipient"] = "ana@x.mx, beto@x.mx"
        smtp.answers["RCPT beto@x.mx"] = "452 4.2.2 mailbox full"
        world.config["notification_config"]["email"]["per_minute"] = None
        async with world.running() as processor:
            write_spec_events(world)
            await eventually(lambda: len(smtp.messages) == 5)
            await eventually(lambda: smtp.commands.count("RCPT") >= 5 * 2 + 6)
            assert (await processor.salud()).parts["canal email"].ok
    assert {m.recipients for m in smtp.messages} == {("ana@x.mx",)}


async def test_of_a_rejected_batch_only_the_bad_message_dies(alert_db: World) -> None:
    async with DiscordServer() as discord:
        discord.refuses = "veneno"
        for text in ("uno", "dos", "veneno", "tres", "cuatro"):
            queue(alert_db, "discord", text)
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 4, "dead": 1})
        assert [e["description"] for e in discord.embeds] == ["uno", "dos", "tres", "cuatro"]
        assert reasons(alert_db, "dead") == ["Discord respondió 400: Invalid Form Body"]
        assert alert_db.alert("SELECT DISTINCT attempts FROM notifications") == [(1,)]


async def test_after_a_rejected_batch_the_others_go_together_again(alert_db: World) -> None:
    async with DiscordServer() as discord:
        discord.refuses = "veneno"
        for text in ("veneno", "uno"):
            queue(alert_db, "discord", text)
        async with delivering(alert_db, webhook(discord)) as delivery:
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1, "dead": 1})
            for text in "abcde":
                queue(alert_db, "discord", text)
            delivery.wake(["discord"])
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 6, "dead": 1})
        assert len(discord.messages) < 4


class Faulty:
    """A channel of somebody else's, which raises what it must not, with a secret in it."""

    max_batch = 10

    def __init__(self) -> None:
        self.told: list[str] = []
        self.address = "https://example.mx/hook/clave-4711"

    async def send(self, batch: Sequence[Message]) -> Outcome:
        if any(message.text == "veneno" for message in batch):
            raise ValueError(self.address)
        self.told += [message.text for message in batch]
        return Sent()

    async def close(self) -> None:
        raise ValueError(self.address)


async def test_a_channel_that_raises_shows_no_secret_and_holds_up_no_other_message(
    alert_db: World, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("uno", "veneno", "dos"):
        queue(alert_db, "otro", text)
    faulty = Faulty()
    async with delivering(alert_db, {"otro": faulty}):
        await eventually(lambda: statuses(alert_db, "otro") == {"sent": 2, "pending": 1})
        await eventually(lambda: reasons(alert_db, "pending") == ["fallo inesperado: ValueError"])
    assert faulty.told == ["uno", "dos"]
    assert "fallo inesperado al cerrar" in caplog.text
    assert "test_delivery_faults.py" in caplog.text  # where it happened
    assert "4711" not in caplog.text


async def test_what_is_too_old_is_not_told_but_given_up_with_its_reason(alert_db: World) -> None:
    metrics = Metrics()
    async with DiscordServer() as discord:
        queue(alert_db, "discord", "de anteayer", age="25 hours")
        queue(alert_db, "discord", "de hoy", age="23 hours")
        queue(alert_db, "sms", "de anteayer", age="25 hours")
        queue(alert_db, "sms", "de hoy", age="23 hours")
        async with delivering(alert_db, webhook(discord), metrics):
            await eventually(lambda: statuses(alert_db, "discord") == {"dead": 1, "sent": 1})
            await eventually(lambda: statuses(alert_db, "sms") == {"dead": 1, "pending": 1})
        assert [e["description"] for e in discord.embeds] == ["de hoy"]
    assert reasons(alert_db, "dead") == [
        "caducada tras 24 h",
        "caducada tras 24 h: el canal ya no está en uso (se quitó o se desactivó)",
    ]
    for channel in ("discord", "other"):  # only what is configured has a label of its own
        line = f'alert_manager_notifications_total{{channel="{channel}",result="expired"}} 1.0'
        assert line in metrics.text().decode()


async def test_what_grows_old_while_its_channel_fails_says_why(alert_db: World) -> None:
    async with DiscordServer() as discord:
        discord.always = BROKEN
        queue(alert_db, "discord")
        async with delivering(alert_db, webhook(discord), max_age=1):
            await eventually(lambda: statuses(alert_db, "discord") == {"dead": 1})
        assert reasons(alert_db, "dead") == [
            "caducada tras 1 s; último fallo: Discord respondió 502"
        ]
        discord.always = GONE
        for _ in range(2):
            queue(alert_db, "discord")
        async with delivering(alert_db, webhook(discord), max_age=1):
            await eventually(lambda: statuses(alert_db, "discord") == {"dead": 3})
        assert "canal deshabilitado: Discord respondió 404" in reasons(alert_db, "dead")[-1]


async def test_more_than_one_statement_of_old_messages_is_given_up(
    alert_db: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.plugins.alert_manager.utils.notify._EXPIRE_AT_ONCE", 2)
    for _ in range(5):
        queue(alert_db, "sms", age="25 hours")
    async with delivering(alert_db, {}):
        await eventually(lambda: statuses(alert_db, "sms") == {"dead": 5})


async def test_the_schema_upgrades_a_queue_of_before(alert_db: World) -> None:
    alert_db.alert("ALTER TABLE notifications DROP COLUMN progress, DROP COLUMN kind")
    alert_db.alert("ALTER TABLE notifications ADD UNIQUE (alert_id, channel)")
    alert_db.alert("COMMENT ON TABLE alerts IS NULL")  # it had no number then
    queue(alert_db, "discord")
    for _ in range(2):
        alert_db.alert(SCHEMA.read_text(encoding="utf-8"))
    async with DiscordServer() as discord, delivering(alert_db, webhook(discord)):
        await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1})
    # The old key would refuse the news that the same alert is over.
    alert_db.alert(
        "INSERT INTO notifications (alert_id, channel, severity, kind)"
        " SELECT alert_id, channel, severity, 'recovery' FROM notifications"
    )


async def test_a_message_whose_sender_died_goes_out_again_after_its_lease(alert_db: World) -> None:
    async with DiscordServer() as discord:
        queue(alert_db, "discord")
        # As a killed sender leaves it: claimed, its lease about to end.
        alert_db.alert(
            "UPDATE notifications SET attempts = 1, lease_token = gen_random_uuid(),"
            " next_attempt_at = now() + interval '1 second'"
        )
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1}, 8.0)
        assert len(discord.embeds) == 1


async def test_a_stop_in_the_middle_of_a_slow_send_is_quick_and_gives_it_back(
    world: World,
) -> None:
    async with SmtpServer() as smtp:
        tell(world, None, smtp)
        smtp.hang.add("DATA")
        async with world.running() as processor:
            world.write(*SPEC_EVENTS[0][:2])
            await asyncio.wait_for(smtp.hanging.wait(), 10)
            started = time.monotonic()
            await processor.detener()
            assert time.monotonic() - started < 8.0
        assert "se detuvo en pleno envío" in str(reasons(world, "pending"))
        smtp.hang.clear()
        started = time.monotonic()
        async with world.running():
            await eventually(lambda: statuses(world, "email") == {"sent": 1}, 20.0)
        assert time.monotonic() - started < 20.0  # not after the lease, which is 60 s


async def test_a_send_ends_before_its_lease(
    alert_db: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.SEND_LIMIT <= LEASE - 10
    monkeypatch.setattr(worker, "SEND_LIMIT", 0.3)
    async with DiscordServer() as discord:
        discord.script.append(Answer(200, {"id": "1"}, delay=30))
        queue(alert_db, "discord")
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1})
        assert len(discord.requests) == 2


async def test_a_token_completes_no_claim_of_another(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "LEASE", 0.0)
    queue(alert_db, "discord")
    session = PgSession("t", parse_dsn(alert_db.alert_dsn))
    outbox, due = Outbox(session), Due("discord", DAY)
    try:
        slow = await outbox.claim(due, 10)
        assert slow is not None
        monkeypatch.setattr(outbox_module, "LEASE", 60.0)
        quick = await outbox.claim(due, 10)
        assert quick is not None
        assert quick.ids == slow.ids
        attempt = Attempt("sent", 0.5, None)
        await outbox.sent(slow, Sent("1"), attempt)
        await outbox.retry(slow, Again(0.0, "tarde"), attempt)
        await outbox.dead(slow, "tarde", attempt)
        assert statuses(alert_db, "discord") == {"pending": 1}
        assert await outbox.claim(due, 10) is None
        assert caplog.text.count("habían pasado a otra instancia") == 3
        assert alert_db.alert("SELECT * FROM deliveries") == []
        await outbox.sent(quick, Sent("2"), attempt)
        assert alert_db.alert("SELECT status, external_id, attempts FROM notifications") == [
            ("sent", "2", 2)
        ]
    finally:
        await session.close()


async def test_an_outage_of_alert_db_in_mid_send_sends_nothing_twice(
    alert_db: World, postgres_server: TestPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "LEASE", 1.0)
    async with DiscordServer() as discord:
        discord.script.append(Answer(200, {"id": "77"}, delay=1.0))
        queue(alert_db, "discord")
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: len(discord.requests) == 1)
            await asyncio.to_thread(postgres_server.stop, "immediate")
            try:
                await asyncio.sleep(3.0)  # longer than the lease: the length of the outage
            finally:
                await asyncio.to_thread(postgres_server.start)
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 1})
        assert len(discord.requests) == 1


async def test_after_a_rate_limit_the_urgent_ones_still_go_first(alert_db: World) -> None:
    session = PgSession("t", parse_dsn(alert_db.alert_dsn))
    async with DiscordServer() as discord:
        discord.script.append(replace(limited(0.2), delay=0.2))
        for severity in (4, 1):
            for _ in range(10):
                queue(alert_db, "discord", "m", severity)
        async with delivering(alert_db, webhook(discord), session=session):
            await eventually(lambda: len(discord.requests) == 1)
            # Others keep the session busy: the rows are due later than the server's wait ends.
            await session.run(lambda connection: time.sleep(0.6))
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 20})
    told = [
        {embed["title"].split(":")[0] for embed in request.payload["embeds"]}
        for request in discord.requests
    ]
    assert told == [{"CRÍTICA"}, {"CRÍTICA"}, {"BAJA"}]
    assert discord.early == 0


async def test_a_mail_server_that_hangs_delays_discord_by_nothing(world: World) -> None:
    async with DiscordServer() as discord, SmtpServer(hang={"CONNECT"}) as smtp:
        tell(world, discord, smtp)
        async with world.running() as processor:
            write_spec_events(world)
            await asyncio.wait_for(smtp.hanging.wait(), 10)
            started = time.monotonic()
            world.write("macro_data", b'{"vix_price": 45}')
            await eventually(lambda: statuses(world, "discord") == {"sent": 6})
            assert time.monotonic() - started < 1.0
            await until_health_says(processor, "canal discord", "ok")
        assert statuses(world, "email") == {"pending": 6}


async def test_no_log_line_of_a_delivery_holds_the_webhook(
    alert_db: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with DiscordServer() as discord:
        token = discord.webhook_url.rsplit("/", 1)[1]
        echo = f"bad {discord.webhook_url}"
        discord.script.extend([Answer(500, echo), Answer(0), Answer(400, echo), Answer(404, echo)])
        for _ in range(3):
            queue(alert_db, "discord")
        async with delivering(alert_db, webhook(discord)) as delivery:
            await eventually(lambda: delivery.states()["discord"].disabled)
        stored = alert_db.alert("SELECT last_error FROM notifications")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("aiohttp.server")]
    assert "deshabilitado" in "".join(ours)
    assert token not in "".join(ours) + repr(stored)
