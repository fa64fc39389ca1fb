"""What somebody does with an alert while messages about it wait, or are on their way."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import psycopg2
import pytest
from click.testing import Result

from src.plugins.alert_manager.utils.queries import query
from tests.plugins.conftest import SCHEMA, World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_life import LOSS, kinds, older, run, soon
from tests.support.discord import BROKEN, DiscordServer
from tests.support.smtp import SmtpServer

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")
UNMINDED = "Nadie la ha reconocido"


async def command(*words: str) -> Result:
    return await asyncio.to_thread(run, *words)


def texts(smtp: SmtpServer) -> list[str]:
    bodies = [received.mail.get_body(("plain",)) for received in smtp.messages]
    return [body.get_content() for body in bodies if body is not None]


def escalating(world: World) -> None:
    world.config["alert_config"] |= {
        "routing": {"default": ["discord"]},
        "escalation": [{"after": "10m", "channels": ["email"]}],
        "repeat_interval": None,
    }


async def test_an_escalation_that_failed_is_not_told_after_an_acknowledgement(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        escalating(world)
        world.config["notification_config"]["email"]["timeout"] = 2
        show_to_commands(world, monkeypatch, tmp_path)
        smtp.hang.add("DATA")
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            older(world, 11)
            await asyncio.wait_for(smtp.hanging.wait(), 30)
            assert (await command("ack", "1")).exit_code == 0
            smtp.hang.clear()
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "muted")])
        assert not any(UNMINDED in text for text in texts(smtp))


async def test_an_escalation_that_waits_is_not_told_once_the_state_is_over(
    world: World, server: DiscordServer
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        escalating(world)
        smtp.answers["DATA"] = "451 4.3.0 later"
        async with world.running():
            world.write("macro_data", to_json({"vix_price": 55}))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            older(world, 11)
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "pending")])
            await eventually(lambda: "DATA" in smtp.commands)
            world.write("macro_data", to_json({"vix_price": 12}))
            await eventually(lambda: ("recovery", 0, "sent") in kinds(world, "discord"))
            # Unless it was just being sent when the state ended, nobody there hears of anything.
            await eventually(lambda: kinds(world, "email")[0] == ("escalation", 1, "muted"))
            del smtp.answers["DATA"]
            await eventually(lambda: "pending" not in statuses(world, "email"))
        assert not any(UNMINDED in text for text in texts(smtp))


async def test_who_was_told_by_a_repetition_alone_hears_the_end(
    world: World, server: DiscordServer
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        world.config["alert_config"] |= {
            "routing": {"default": ["discord"]},
            "escalation": [],
            "repeat_interval": "20m",
        }
        world.config["notification_config"]["discord"]["fallback"] = "email"
        async with world.running():
            world.write("macro_data", to_json({"vix_price": 55}))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            server.always = BROKEN
            older(world, 21)
            await eventually(lambda: ("repeat", 1, "sent") in kinds(world, "email"))
            server.always = None
            await eventually(lambda: ("repeat", 1, "moved") in kinds(world, "discord"))
            world.write("macro_data", to_json({"vix_price": 12}))
            await eventually(lambda: ("recovery", 0, "sent") in kinds(world, "email"))


async def test_an_acknowledgement_beside_a_follow_up_ends_it(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither of the two transactions sees the other."""
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    world.alert(
        "INSERT INTO alerts (severity, message, channel, event_data, timestamp)"
        " VALUES ('critica', 'm', 'alertas', '{}', 1)"
    )
    beside = psycopg2.connect(world.alert_dsn)
    try:
        step = {"id": [1], "channel": ["discord"], "number": [1], "kind": "escalation"}
        beside.cursor().execute(query("follow_ups_put"), step)
        assert (await command("ack", "1")).exit_code == 0
        beside.commit()
    finally:
        beside.close()
    assert kinds(world, "discord") == [("escalation", 1, "pending")]
    async with world.running():
        await eventually(lambda: kinds(world, "discord") == [("escalation", 1, "muted")])
    assert server.requests == []


@pytest.mark.parametrize("order", ["cba", "abc"])
def test_what_the_last_of_a_chain_of_fallbacks_told_is_told_by_none_before_it(
    world: World, order: str
) -> None:
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    world.alert(
        "INSERT INTO alerts (severity, message, channel, event_data, timestamp)"
        " VALUES ('critica', 'm', 'alertas', '{}', 1)"
    )
    world.alert(
        "INSERT INTO notifications (alert_id, channel, severity, status, handed_from) VALUES"
        " (1, 'a', 4, 'pending', NULL), (1, 'b', 4, 'pending', 'a'),"
        " (1, 'c', 4, 'pending', 'b'), (1, 'd', 4, 'sent', 'c')"
    )
    with contextlib.closing(psycopg2.connect(world.alert_dsn)) as connection, connection:
        for name in order:
            fallback = {"a": "b", "b": "c", "c": "d"}[name]
            arguments = {"channel": name, "fallback": fallback, "least": 3}
            connection.cursor().execute(query("take_back"), arguments)
    rows = world.alert("SELECT channel, status, last_error FROM notifications ORDER BY channel")
    assert rows[:3] == [(name, "moved", "lo entregó d") for name in "abc"]
