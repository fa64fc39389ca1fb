"""Silences that begin and end while messages wait, commits are under way, and states go on."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from src.plugins.alert_manager.domain.silences import Silences
from src.plugins.alert_manager.utils.commit import LOCK_CLASS
from src.plugins.alert_manager.utils.db import AlertStore
from tests.plugins.conftest import World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_life import LOSS, run, soon
from tests.support.discord import BROKEN, DiscordServer
from tests.support.smtp import SmtpServer

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")
ADD = ("silence", "add", "symbol=BTC/USDT", "--reason", "mantenimiento")


async def said(*words: str) -> Any:
    result = await asyncio.to_thread(run, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def muted_while_it_waited(world: World, server: DiscordServer) -> int:
    """A loss that Discord does not take, and that a silence then mutes; returns its number."""
    server.always = BROKEN
    world.write("trading_results", to_json(LOSS))
    await eventually(lambda: len(server.requests) > 1)
    number = int((await said(*ADD, "--for", "8h"))["id"])
    await eventually(lambda: statuses(world, "discord") == {"muted": 1})
    server.always = None
    return number


async def test_what_was_muted_while_it_waited_is_told_when_it_goes_on_afterwards(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    async with world.running():
        number = await muted_while_it_waited(world, server)
        assert world.alerts()[0]["status"] == "silenciada"
        await said("silence", "expire", str(number))
        world.write("trading_results", to_json(LOSS))
        await eventually(lambda: statuses(world, "discord") == {"sent": 1})
    alert = world.alerts()[0]
    assert (alert["status"], alert["occurrences"]) == ("abierta", 2)
    actions = world.alert("SELECT action FROM alert_history ORDER BY id")
    assert actions == [("silenciada",), ("abierta",)]


async def test_so_is_it_to_those_who_did_not_hear_where_others_did(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            number = await muted_while_it_waited(world, server)
            await eventually(lambda: "pending" not in statuses(world, "email"))
            assert world.alerts()[0]["status"] == "abierta"
            await said("silence", "expire", str(number))
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        about = [m for m in smtp.messages if "Pérdida" in str(m.mail["Subject"])]
        assert len(about) == 1  # they know


async def test_a_silence_that_was_stored_before_a_commit_counts_for_it(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()"
    )
    # A start has something to commit, too: that is not the silence.
    silence = f"{waiting} AND application_name = 'alerts.sh'"
    async with world.running():
        # The silence waits for its turn; behind it a commit, which has looked for silences before.
        blocker = psycopg2.connect(world.alert_dsn)
        try:
            blocker.cursor().execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_CLASS,))
            added = asyncio.create_task(said(*ADD, "--for", "8h"))
            await eventually(lambda: world.alert(silence) == [(1,)])
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: world.alert(waiting) == [(2,)])
            blocker.rollback()
        finally:
            blocker.close()
        await added
        await eventually(lambda: [a["status"] for a in world.alerts()] == ["silenciada"])
        await eventually(lambda: statuses(world, "log") == {"sent": 1})
        assert statuses(world, "discord") == {}
    assert server.requests == []


async def test_a_silence_that_begins_later_mutes_what_waits_by_then(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    server.always = BROKEN
    async with world.running():
        world.write("trading_results", to_json(LOSS))
        await eventually(lambda: len(server.requests) > 1)
        begin = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 3))
        assert (await said(*ADD, "--from", begin))["muted"] == 0
        await eventually(lambda: statuses(world, "discord") == {"muted": 1})
    [(reason,)] = world.alert("SELECT last_error FROM notifications WHERE status = 'muted'")
    assert reason == "callada por el silencio 1"


@pytest.mark.long
async def test_a_state_that_makes_no_more_events_is_told_after_its_silence(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tell(world, server, None)
    for rule in world.config["alert_config"]["rules"]:
        if rule["name"] == "exchange_parado":
            rule["absent_for"] = "1s"
    show_to_commands(world, monkeypatch, tmp_path)
    quiet = ("silence", "add", "rule=exchange_parado", "--reason", "mantenimiento")
    async with world.running():
        number = (await said(*quiet, "--for", "8h"))["id"]
        world.write("exchange_data", to_json({"exchange": "kraken", "price": 1}))
        await eventually(lambda: [a["status"] for a in world.alerts()] == ["silenciada"], 40)
        await eventually(lambda: statuses(world, "log") == {"sent": 1})
        assert statuses(world, "discord") == {}
        await said("silence", "expire", str(number))
        await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        assert statuses(world, "log") == {"sent": 1}  # which heard of it then
        await said(*quiet, "--for", "8h")  # what was told before it stays told
        world.write("exchange_data", to_json({"exchange": "kraken", "price": 1}))
        await eventually(lambda: statuses(world, "discord") == {"sent": 2})
    assert world.alerts()[0]["status"] == "resuelta"


async def test_silences_are_asked_for_when_they_have_changed_and_not_for_each_alert(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    load, asked = AlertStore.load_silences, 0

    async def counted(store: AlertStore) -> Silences:
        nonlocal asked
        asked += 1
        return await load(store)

    monkeypatch.setattr(AlertStore, "load_silences", counted)

    async def lost(*amounts: int) -> list[str]:
        """How alerts stand of losses, one after the other."""
        before = len(world.alerts())
        for amount in amounts:
            world.write(
                "trading_results", to_json({**LOSS, "profit": -amount, "user_id": str(amount)})
            )
            count = before + amounts.index(amount) + 1
            await eventually(lambda count=count: len(world.alerts()) == count)  # type: ignore[misc]
        return [alert["status"] for alert in world.alerts()[before:]]

    async with world.running():
        assert await lost(501, 502, 503) == ["abierta"] * 3
        first = asked
        number = int((await said(*ADD, "--for", "8h"))["id"])
        assert await lost(504, 505, 506) == ["silenciada"] * 3
        await said("silence", "expire", str(number))
        assert await lost(507, 508) == ["abierta"] * 2
        await said(*ADD, "--for", "5s")
        assert await lost(509) == ["silenciada"]
        over = "SELECT bool_and(ends_at < now()) FROM silences WHERE expired_at IS NULL"
        await eventually(lambda: world.alert(over) == [(True,)])
        assert await lost(510, 511) == ["abierta"] * 2
    assert first == 1
    assert asked == 5  # once more for each of the four that began or ended
