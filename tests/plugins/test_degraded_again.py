"""Nobody is told twice: alert_db goes away again, a mail reaches some, there are no windows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from src.plugins.alert_manager.utils import hand_in
from src.plugins.alert_manager.utils.db import AlertStore
from src.plugins.alert_manager.utils.queries import query
from tests.plugins.conftest import SCHEMA, World, eventually
from tests.plugins.test_degraded import (
    about_us,
    alert_server,
    begun,
    deliveries,
    lose,
    mails,
    quick_start,
    smtp,
    stored,
    told,
    until_settled,
)
from tests.plugins.test_delivery import tell
from tests.support.discord import DiscordServer
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres
from tests.support.smtp import SmtpServer

__all__ = ["alert_server", "quick_start", "smtp"]


def all_told(server: DiscordServer, symbols: Sequence[str]) -> bool:
    return all(told(server, symbol) for symbol in symbols)


def recipients(smtp: SmtpServer, symbol: str) -> list[str]:
    of_it = [m for m in smtp.messages if f"en {symbol} " in str(m.mail["Subject"])]
    return sorted(name for received in of_it for name in received.recipients)


async def test_what_an_outage_told_is_not_told_in_the_next(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    tell(world, server, smtp)
    async with world.running():
        await begun(world)
        alert_server.kill()
        lose(world, "DURING")
        await eventually(lambda: told(server, "DURING") and mails(smtp, "DURING"), 20.0)
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
        alert_server.kill()
        lose(world, "AGAIN")
        await eventually(lambda: told(server, "AGAIN") and mails(smtp, "AGAIN"), 20.0)
        alert_server.start()
        await until_settled(world, "DURING", "AGAIN")
    for symbol in ("DURING", "AGAIN"):
        assert (len(told(server, symbol)), mails(smtp, symbol)) == (1, 1), symbol


@pytest.mark.long
async def test_an_alert_db_that_hangs_again_while_it_is_handed_in_is_no_reason_to_wait(
    world: World,
    alert_server: TestPostgres,
    server: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stores or claims waits for the hand-in, and that waits for an answer."""
    store, hung = hand_in._store, threading.Event()
    tell(world, server, None)
    with postgres_proxy(world.alert_dsn) as (cut, parameters):

        def hang(*arguments: Any, **named: Any) -> Any:
            cut.freeze()
            hung.set()
            return store(*arguments, **named)

        async with world.running(config={**world.config, "db_config": parameters}):
            await begun(world)
            cut.freeze()
            lose(world, "DURING")
            await eventually(lambda: told(server, "DURING"), 20.0)
            with monkeypatch.context() as patched:
                patched.setattr(hand_in, "_store", hang)
                cut.thaw()
                await eventually(hung.is_set)
            committed = lose(world, "AGAIN")
            await eventually(lambda: told(server, "AGAIN"), 10.0)
            assert time.monotonic() - committed < 10.0
            cut.thaw()
            await until_settled(world, "BEFORE", "DURING", "AGAIN")
    assert [len(told(server, symbol)) for symbol in ("BEFORE", "DURING", "AGAIN")] == [1, 1, 1]


@pytest.mark.long
async def test_what_is_being_told_when_it_is_stored_is_not_told_in_the_next(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    tell(world, server, None)
    world.config["notification_config"]["discord"]["timeout"] = 45
    async with world.running():
        await begun(world)
        alert_server.kill()
        server.may_answer.clear()
        lose(world, "DURING")
        await eventually(lambda: told(server, "DURING"), 20.0)
        alert_server.start()
        await eventually(lambda: "DURING" in stored(world))
        assert ("discord", "pending", "") in deliveries(world, "DURING")
        server.may_answer.set()
        await until_settled(world, "DURING")
        alert_server.kill()
        lose(world, "AGAIN")
        await eventually(lambda: told(server, "AGAIN"), 20.0)
        alert_server.start()
        await until_settled(world, "DURING", "AGAIN")
    assert [len(told(server, symbol)) for symbol in ("DURING", "AGAIN")] == [1, 1]


async def test_without_a_window_each_event_is_told_once(
    world: World, alert_server: TestPostgres, server: DiscordServer, smtp: SmtpServer
) -> None:
    tell(world, server, smtp)
    world.config["alert_config"]["dedupe"] = {"window": 0}
    async with world.running():
        await begun(world)
        alert_server.kill()
        lose(world, "DURING")
        await eventually(lambda: told(server, "DURING") and mails(smtp, "DURING"), 20.0)
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
    assert (len(told(server, "DURING")), mails(smtp, "DURING")) == (1, 1)
    assert sorted(stored(world)) == ["BEFORE", "DURING"]


async def test_who_has_the_mail_gets_it_once_while_others_are_put_off(
    world: World, alert_server: TestPostgres, smtp: SmtpServer
) -> None:
    """One is told without alert_db, the other one afterwards."""
    tell(world, None, smtp)
    world.config["notification_config"]["email"]["recipient"] = "ana@x.mx, beto@x.mx"
    world.config["config"]["delivery"] = {"retry_base": 20.0, "retry_cap": 20.0}
    async with world.running():
        await begun(world)
        smtp.answers["RCPT beto@x.mx"] = "450 4.2.0 greylisted"
        alert_server.kill()
        lose(world, "DURING")
        await eventually(lambda: mails(smtp, "DURING"), 20.0)
        del smtp.answers["RCPT beto@x.mx"]
        alert_server.start()
        await until_settled(world, "BEFORE", "DURING")
    assert recipients(smtp, "DURING") == ["ana@x.mx", "beto@x.mx"]


@pytest.mark.long
async def test_who_got_it_before_alert_db_went_away_gets_it_once(
    world: World, alert_server: TestPostgres, smtp: SmtpServer, server: DiscordServer
) -> None:
    tell(world, server, smtp)
    world.config["notification_config"]["email"]["recipient"] = "ana@x.mx, beto@x.mx"
    world.config["config"]["delivery"] = {"retry_base": 30.0, "retry_cap": 30.0}
    async with world.running():
        await begun(world)
        smtp.answers["RCPT beto@x.mx"] = "450 4.2.0 greylisted"
        lose(world, "PART")
        await eventually(lambda: mails(smtp, "PART"), 20.0)
        progress = "SELECT progress FROM notifications WHERE progress IS NOT NULL"
        await eventually(lambda: len(world.alert(progress)) == 1)
        del smtp.answers["RCPT beto@x.mx"]
        alert_server.kill()
        await eventually(lambda: about_us(server), 30.0)  # by then all that is to be told ahead is
        await asyncio.sleep(1.0)
        assert mails(smtp, "PART") == 1
        alert_server.start()
        await until_settled(world, "BEFORE", "PART")
    assert recipients(smtp, "PART") == ["ana@x.mx", "beto@x.mx"]


@pytest.mark.long
async def test_what_one_instance_told_is_not_told_by_another(
    world: World, alert_server: TestPostgres, server: DiscordServer
) -> None:
    """Whoever read last reads on, and alert_db hears first what that told."""
    tell(world, server, None)
    async with world.running("corec1"), world.running("corec2"):
        await begun(world)
        for turn in range(2):
            symbols = [f"T{turn}x{number}" for number in range(5)]
            alert_server.kill()
            for symbol in symbols:
                lose(world, symbol)
            await eventually(partial(all_told, server, symbols), 20.0)
            alert_server.start()
            await until_settled(world, *symbols)
            assert [len(told(server, symbol)) for symbol in symbols] == [1] * 5


async def test_what_is_sent_before_its_commit_is_heard_of_is_not_told_again(
    world: World,
    alert_server: TestPostgres,
    server: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker claims a message that is committed, while the answer to the commit is on its way."""
    commit = AlertStore.commit
    tell(world, server, None)
    async with world.running() as processor:
        await begun(world)

        async def late(store: AlertStore, *arguments: Any) -> Any:
            committed = await commit(store, *arguments)
            processor._running.get().delivery.wake(None)
            await eventually(lambda: told(server, "EARLY"))
            await asyncio.sleep(0.5)  # what came of it is recorded, too
            return committed

        with monkeypatch.context() as patched:
            patched.setattr(AlertStore, "commit", late)
            lose(world, "EARLY")
            await until_settled(world, "EARLY")
            await eventually(lambda: "EARLY" in stored(world) and told(server, "EARLY"))
            await asyncio.sleep(1.0)
        alert_server.kill()
        lose(world, "DURING")
        await eventually(lambda: told(server, "DURING"), 20.0)
        alert_server.start()
        await until_settled(world, "EARLY", "DURING")
    assert [len(told(server, symbol)) for symbol in ("EARLY", "DURING")] == [1, 1]


def test_what_was_told_ahead_counts_for_one_alert(world: World) -> None:
    """Somebody resolves it; the next of its kind, within the hour, is news."""
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    world.alert(
        "INSERT INTO told_ahead (fingerprint, timestamp, span, channel, told_at, attempts)"
        " VALUES ('\\x01', 1000, 3600, 'discord', 1000, 1)"
    )
    for timestamp in (1000, 1600):
        world.alert(
            "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp, fingerprint)"
            " VALUES ('alta', 'm', 'alertas', %s, '\\x01') RETURNING id)"
            " INSERT INTO notifications (alert_id, channel, severity)"
            " SELECT id, 'discord', 3 FROM a",
            (timestamp,),
        )
        world.alert(query("told_ahead_apply").replace("%(ids)s", "NULL"))
    found = world.alert("SELECT status FROM notifications ORDER BY id")
    assert found == [("sent",), ("pending",)]
