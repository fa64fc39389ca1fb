"""What is told later: not what somebody has taken care of, and not under a silence."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.plugins.alert_manager import silencer
from src.plugins.alert_manager.utils import claims, notify, outbox, worker
from tests.plugins.conftest import World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_life import LOSS, kinds, older, run
from tests.plugins.test_storms import texts
from tests.support.discord import BROKEN, DiscordServer
from tests.support.smtp import SmtpServer

STEPS = {
    "routing": {"default": ["discord"]},
    "escalation": [
        {"after": "10m", "channels": ["email"]},
        {"after": "30m", "channels": ["email"]},
    ],
    "repeat_interval": "20m",
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path) -> None:
    monkeypatch.setattr(notify, "_FOLLOW_UP", 0.1)
    monkeypatch.setattr(worker, "_FLOOR", 0.2)
    world.config["alert_config"] |= STEPS


async def command(*words: str) -> str:
    result = await asyncio.to_thread(run, *words, "--who", "ana")
    assert result.exit_code == 0, result.output
    return result.output


async def silenced() -> str:
    return await command("silence", "add", "symbol=BTC/USDT", "--for", "8h", "--reason", "x")


async def test_who_acknowledges_ends_what_was_to_be_told_again(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        show_to_commands(world, monkeypatch, tmp_path)
        smtp.answers["DATA"] = "451 4.3.0 later"
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            older(world, 11)
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "pending")])

            async def acknowledged() -> bool:
                await asyncio.to_thread(run, "ack", "1", "--who", "ana")
                return kinds(world, "email") == [("escalation", 1, "muted")]

            # What is being sent at that moment is left to its sender.
            for _ in range(50):
                if await acknowledged():
                    break
                world.alert("UPDATE alerts SET status = 'abierta'")
                await asyncio.sleep(0.05)
            del smtp.answers["DATA"]
            await asyncio.sleep(1.0)
        assert kinds(world, "email") == [("escalation", 1, "muted")]
        assert texts(smtp) == []


async def test_who_resolves_what_was_not_told_yet_is_heard_after_it(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        show_to_commands(world, monkeypatch, tmp_path)
        server.always = BROKEN
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: len(server.requests) > 2)
            await command("resolve", "1", "--note", "ya")
            server.always = None
            await eventually(lambda: statuses(world, "discord") == {"sent": 2})
    told = [(e["title"].split(":")[0], e["description"]) for e in server.embeds if "BTC" in str(e)]
    assert [label for label, _ in told] == ["CRÍTICA", "RESUELTA"]
    assert told[0][1].startswith("Ya está resuelta.")


async def test_a_silence_covers_what_is_told_again(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            await silenced()
            older(world, 21)
            await asyncio.sleep(1.0)
            assert kinds(world, "email") == []
            assert kinds(world, "discord") == [("alert", 0, "sent")]
            await command("silence", "expire", "1")
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "sent")])
            await eventually(lambda: ("repeat", 1, "sent") in kinds(world, "discord"))


async def test_what_a_silence_muted_while_it_waited_is_told_to_nobody_else(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        world.config["config"]["circuit_breaker"] = {"max_failures": 1, "reset_timeout": 600}
        show_to_commands(world, monkeypatch, tmp_path)
        server.always = BROKEN
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: "canal_caido" in [a["rule"] for a in world.alerts()])
            assert "1 aviso que esperaba ya no sale" in await silenced()
            assert world.alerts()[0]["status"] == "silenciada"
            older(world, 11)
            await asyncio.sleep(1.0)
            about_it = "SELECT count(*) FROM notifications WHERE channel = 'email' AND alert_id = 1"
            assert world.alert(about_it) == [(0,)]


async def test_time_counts_from_when_people_were_told(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            await silenced_before(world)
            await command("silence", "expire", "1")
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: ("alert", 0, "sent") in kinds(world, "discord"))
            await asyncio.sleep(1.0)
            assert kinds(world, "email") == []
            older(world, 11)
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "sent")])


async def silenced_before(world: World) -> None:
    """An alert that nobody was told of for most of an hour."""
    # Before the first start of the plugin there are no tables yet.
    await silenced()
    world.write("trading_results", to_json(LOSS))
    await eventually(lambda: [a["status"] for a in world.alerts()] == ["silenciada"])
    older(world, 50)


@pytest.mark.parametrize("shift", [-3600, 3600])
async def test_a_silence_keeps_to_the_clock_of_the_database(
    world: World,
    server: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shift: int,
) -> None:
    tell(world, server, None)
    world.config["alert_config"]["escalation"] = []
    show_to_commands(world, monkeypatch, tmp_path)
    wrong = SimpleNamespace(time=lambda: time.time() + shift, monotonic=time.monotonic)
    async with world.running():
        await command("silence", "add", "symbol=BTC/USDT", "--for", "30m", "--reason", "x")
        for module in (silencer, claims, notify, outbox):
            monkeypatch.setattr(module, "time", wrong, raising=False)
        world.write("trading_results", to_json(LOSS))
        await eventually(lambda: [a["status"] for a in world.alerts()] == ["silenciada"])
    assert server.embeds == []


async def test_what_somebody_minds_or_only_a_log_was_told_goes_no_further(
    world: World, server: DiscordServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(world, server, smtp)
        world.config["alert_config"]["routing"] = {
            "default": ["discord"],
            "routes": [{"plugins": ["quiet"], "to": ["log"]}],
        }
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            world.write("trading_results", to_json({**LOSS, "plugin": "quiet"}))
            await eventually(lambda: statuses(world, "log") == {"sent": 2})
            assert statuses(world, "discord") == {"sent": 1}
            await command("ack", "1")
            older(world, 11)
            await asyncio.sleep(1.0)
            assert kinds(world, "email") == []
            world.alert("UPDATE alerts SET status = 'abierta' WHERE id = 1")  # as it was
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "sent")])
            older(world, 2 * 24 * 60)  # nobody was there to send the second step for two days
            await asyncio.sleep(1.0)
            assert kinds(world, "email") == [("escalation", 1, "sent")]
