"""The life of an alert: told again, told to others, acknowledged, resolved; and who did what."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.config_file import ConfigError
from src.plugins.alert_manager.settings import check
from src.plugins.alert_manager.utils import notify, worker
from tests.plugins.conftest import World, eventually, shipped_config, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.support.discord import BROKEN, GONE, DiscordServer
from tests.support.smtp import SmtpServer

LOSS = {"profit": -5000, "symbol": "BTC/USDT", "user_id": "ana"}  # crítica


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_FOLLOW_UP", 0.1)
    monkeypatch.setattr(worker, "_FLOOR", 0.2)


def kinds(world: World, channel: str) -> list[tuple[str, int, str]]:
    return world.alert(
        "SELECT kind, number, status FROM notifications WHERE channel = %s ORDER BY id", (channel,)
    )


def older(world: World, minutes: float) -> None:
    world.alert("UPDATE alerts SET created_at = created_at - make_interval(mins => %s)", (minutes,))
    world.alert(
        "UPDATE notifications SET finished_at = finished_at - make_interval(mins => %s),"
        " queued_at = queued_at - make_interval(mins => %s) WHERE kind = 'alert'",
        (minutes, minutes),
    )


@pytest.mark.usefixtures("soon")
async def test_a_critical_alert_is_told_again_and_to_others_until_somebody_minds(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["alert_config"] |= {
            "routing": {"default": ["discord"]},
            "escalation": [
                {"after": "10m", "channels": ["email"]},
                {"after": "30m", "channels": ["email", "discord"]},
            ],
            "repeat_interval": "20m",
        }
        show_to_commands(world, monkeypatch, tmp_path)
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            world.write(
                "trading_results", to_json({**LOSS, "profit": -150})
            )  # alta: not told again
            await eventually(lambda: statuses(world, "discord") == {"sent": 2})
            older(world, 11)
            await eventually(lambda: kinds(world, "email") == [("escalation", 1, "sent")])
            older(world, 10)  # 21 minutes
            await eventually(lambda: ("repeat", 1, "sent") in kinds(world, "discord"))
            older(world, 10)  # 31
            await eventually(lambda: ("escalation", 2, "sent") in kinds(world, "discord"))
            await eventually(lambda: len(kinds(world, "email")) == 2)
            result = await asyncio.to_thread(run, "ack", "1", "--note", "lo miro", "--who", "ana")
            assert result.output == "Alerta 1: reconocida.\n"
            told = len(discord.embeds)
            older(world, 60)  # 91: the second repetition would be due
            await asyncio.sleep(1)
            assert len(discord.embeds) == told
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: world.alerts()[0]["occurrences"] == 2)
            result = await asyncio.to_thread(
                run, "resolve", "1", "--who", "beto", "--note", "era él"
            )
            assert result.exit_code == 0
            await eventually(lambda: ("recovery", 0, "sent") in kinds(world, "email"))
            await eventually(lambda: ("recovery", 0, "sent") in kinds(world, "discord"))
            told = len(discord.embeds)
            world.write("trading_results", to_json(LOSS))  # after it was resolved, it is news
            await eventually(lambda: len(world.alerts()) == 3)
            await eventually(lambda: len(discord.embeds) == told + 1)
        texts = [embed["description"] for embed in discord.embeds]
        assert any("Sigue abierta desde hace 21 min" in text for text in texts)
        assert any("Nadie la ha reconocido desde hace 31 min" in text for text in texts)
        assert any(r"alerts.sh ack 1" in text for text in texts)
        assert texts[-2] == "La resolvió beto: era él."
        assert len({m.mail["Message-ID"] for m in smtp.messages}) == len(smtp.messages) == 3
    assert [a["status"] for a in world.alerts()] == ["resuelta", "abierta", "abierta"]
    shown = json.loads(run("show", "1", "--json").stdout)
    done = [(e["action"], e["who"], e["note"]) for e in shown["history"]]
    assert done == [
        ("escalada", "alert_manager", "paso 1"),
        ("escalada", "alert_manager", "paso 2"),
        ("reconocida", "ana", "lo miro"),
        ("resuelta", "beto", "era él"),
    ]
    assert "reconocida por ana: lo miro" in run("show", "1").output
    again = run("ack", "1", "77")
    assert again.exit_code == 1
    assert "Alerta 1: no existe, o ya no se puede" in again.output


@pytest.mark.usefixtures("soon")
async def test_after_days_away_only_the_newest_repetition_is_told(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        world.config["alert_config"]["repeat_interval"] = "1h"
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        older(world, 20 * 60)  # due at 1, 3, 7 and 15 hours
        async with world.running():
            await eventually(lambda: ("repeat", 4, "sent") in kinds(world, "discord"))
            await asyncio.sleep(0.5)
        assert [k for k in kinds(world, "discord") if k[0] == "repeat"] == [("repeat", 4, "sent")]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("answer", [BROKEN, GONE])
async def test_a_channel_that_cannot_tell_hands_over_what_is_urgent(
    world: World, answer: Any
) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["config"]["circuit_breaker"] = {"max_failures": 2, "reset_timeout": 1.5}
        world.config["alert_config"]["routing"] = {"default": ["discord"]}
        world.config["notification_config"]["discord"]["fallback"] = "email"
        discord.always = answer
        async with world.running():
            for profit in (-5000, -150, 500):  # crítica, alta, baja
                world.write("trading_results", to_json({**LOSS, "profit": profit}))
            await eventually(lambda: statuses(world, "email") == {"sent": 2})
            kept = statuses(world, "discord")  # the next try finds that two of them were told
            assert kept.keys() <= {"pending", "moved"}
            assert sum(kept.values()) == 3
            world.write("trading_results", to_json({**LOSS, "profit": -6000}))
            await eventually(lambda: statuses(world, "email") == {"sent": 3})
            discord.always = None
            if answer is BROKEN:
                await eventually(lambda: statuses(world, "discord") == {"moved": 3, "sent": 1})
        if answer is GONE:
            async with world.running():
                await eventually(lambda: statuses(world, "discord") == {"moved": 3, "sent": 1})
        titles = [embed["title"] for embed in discord.embeds]
        assert sum("Ganancia" in title for title in titles) == 1
        assert not any("Pérdida" in title for title in titles)
        subjects = [str(m.mail["Subject"]) for m in smtp.messages]
        assert sum("Pérdida" in subject for subject in subjects) == 3
    rows = world.alert("SELECT DISTINCT last_error FROM notifications WHERE status = 'moved'")
    assert all(reason.startswith("lo entregó email") for (reason,) in rows)


@pytest.mark.usefixtures("soon")
async def test_who_is_told_by_both_anyway_is_told_by_both(world: World) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["notification_config"]["discord"]["fallback"] = "email"
        discord.always = BROKEN
        async with world.running():
            world.write("trading_results", to_json(LOSS))
            await eventually(lambda: statuses(world, "email") == {"sent": 1})
            await eventually(lambda: len(discord.requests) >= 4)
            discord.always = None
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        (
            {"escalation": [{"after": "1h", "channels": "fax"}]},
            "alert_config.escalation.0.channels",
            "no existe 'fax'",
        ),
        (
            {
                "escalation": [
                    {"after": "1h", "channels": "log"},
                    {"after": "1h", "channels": "log"},
                ]
            },
            "alert_config.escalation.1.after",
            "después del anterior",
        ),
        ({"repeat_interval": 0}, "alert_config.repeat_interval", "mayor que 0"),
    ],
)
def test_faults_of_what_follows(changes: dict[str, Any], path: str, said: str) -> None:
    config = shipped_config()
    config["alert_config"] |= changes
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert any(f.path == path and said in f.text for f in caught.value.faults)


@pytest.mark.parametrize(
    ("fallbacks", "path"),
    [
        ({"log": "fax"}, "notification_config.log.fallback"),
        ({"log": "log"}, "notification_config.log.fallback"),
        ({"log": "discord"}, "notification_config.log.fallback"),  # switched off
        ({"log": "email", "email": "log"}, "notification_config.email.fallback"),
    ],
)
def test_a_fallback_leads_somewhere(fallbacks: dict[str, str], path: str) -> None:
    config = shipped_config()
    config["notification_config"]["email"] |= {
        "enabled": True, "sender": "a@x.mx", "recipient": "b@x.mx",
    }  # fmt: skip
    for name, fallback in fallbacks.items():
        config["notification_config"][name]["fallback"] = fallback
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert path in [fault.path for fault in caught.value.faults]
