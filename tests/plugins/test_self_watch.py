"""Our own troubles with channels are alerts, told over those that work, and make no others."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from src.plugins.alert_manager import pipeline, read_loop, self_watch
from tests.plugins.conftest import World, eventually
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.support.discord import BROKEN, GONE, DiscordServer
from tests.support.smtp import SmtpServer

DOWN = ("canal_caido", "No se puede avisar por discord")


def own(world: World) -> list[tuple[str, str]]:
    return [(a["rule"], a["title"]) for a in world.alerts() if a["channel"] == "alert_data"]


def told(world: World, rule: str) -> list[str]:
    sql = (
        "SELECT n.channel FROM notifications AS n JOIN alerts AS a ON a.id = alert_id"
        " WHERE rule = %s ORDER BY 1"
    )
    return [row[0] for row in world.alert(sql, (rule,))]


def ended(world: World, rule: str) -> list[bool]:
    return [a["status"] == "resuelta" for a in world.alerts() if a["rule"] == rule]


def loss(world: World, profit: float) -> None:
    world.write("trading_results", to_json({"profit": profit, "symbol": "BTC/USDT"}))


async def test_a_channel_that_fails_is_told_over_the_others_once_and_so_is_its_return(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_watch, "STEADY", 0.5)
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        discord.always = BROKEN
        async with world.running():
            loss(world, -500)
            await eventually(
                lambda: own(world) == [("canal_caido", "No se puede avisar por discord")]
            )
            assert told(world, "canal_caido") == [
                "alert_data", "alert_data_stream", "email", "log",
            ]  # fmt: skip
            await asyncio.sleep(1.5)  # it opens again and again
            assert len(own(world)) == 1
            await eventually(lambda: len(smtp.messages) == 2)
            assert any("502" in str(m.mail.get_body(("plain",))) for m in smtp.messages)
            discord.always = None
            await eventually(lambda: len(smtp.messages) == 3)
            await eventually(lambda: ended(world, "canal_caido") == [True])
        end = smtp.messages[-1].mail.get_body(("plain",))
        assert end is not None
        assert "Se avisa de nuevo por discord" in end.get_content()
        assert len(own(world)) == 1


async def test_a_channel_that_comes_and_goes_is_down_until_it_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_watch, "STEADY", 3.0)
    async with DiscordServer() as discord:
        tell(world, discord, None)
        async with world.running():
            for number in range(2):
                discord.always = BROKEN
                loss(world, -500 - number)
                await eventually(lambda: len(own(world)) == 1)
                discord.always = None
                await eventually(lambda: "pending" not in statuses(world, "discord"))
                loss(world, -600 - number)
                await eventually(lambda: "pending" not in statuses(world, "discord"))
            assert own(world) == [DOWN]
            await eventually(lambda: ended(world, "canal_caido") == [True])
            discord.always = BROKEN
            loss(world, -700)
            await eventually(lambda: own(world) == [DOWN, DOWN])  # down again: that is news
        assert ended(world, "canal_caido") == [True, False]


async def test_a_channel_that_stays_down_over_restarts_is_one_alert_and_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_watch, "STEADY", 0.2)
    async with DiscordServer() as discord:
        tell(world, discord, None)
        discord.always = BROKEN
        counted = "SELECT occurrences FROM alerts WHERE rule = 'canal_caido'"
        for number in (1, 2, 3):
            async with world.running():
                loss(world, -500 - number)
                await eventually(partial(lambda n: world.alert(counted) == [(n,)], number))
        assert ended(world, "canal_caido") == [False]
        discord.always = None
        async with world.running():
            await eventually(lambda: ended(world, "canal_caido") == [True])


@pytest.mark.parametrize("fallback", ["email", None])
async def test_that_the_only_channel_of_people_is_down_is_told_by_another(
    world: World, fallback: str | None
) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["alert_config"]["routing"] = {"default": ["discord"]}
        world.config["notification_config"]["discord"]["fallback"] = fallback
        discord.always = BROKEN
        async with world.running():
            loss(world, -500)
            await eventually(lambda: "email" in told(world, "canal_caido"))
            subject = "No se puede avisar por discord"
            await eventually(lambda: any(subject in m.mail["Subject"] for m in smtp.messages))


async def test_without_redis_nobody_is_told_that_its_reports_fail(world: World) -> None:
    world.redis_url = ""
    async with DiscordServer() as discord:
        tell(world, discord, None)
        async with world.running():
            loss(world, -500)
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            assert statuses(world, "alert_data_stream") == {}


async def test_two_channels_that_are_gone_make_two_alerts_and_no_more(world: World) -> None:
    async with DiscordServer() as discord, DiscordServer() as other:
        tell(world, discord, None)
        world.config["notification_config"]["otro"] = {
            "type": "discord",
            "webhook_url": other.webhook_url,
        }
        world.config["notification_channels"].append("otro")
        discord.always = other.always = GONE
        async with world.running():
            loss(world, -500)
            await eventually(lambda: len(own(world)) == 2)
            await asyncio.sleep(1)
        assert {title for _, title in own(world)} == {
            "No se puede avisar por discord",
            "No se puede avisar por otro",
        }


@pytest.mark.long
async def test_a_reader_that_stays_behind_is_told_and_so_is_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_loop, "BEHIND", 1.0)
    monkeypatch.setattr(pipeline, "_MAX_BATCHES", 2)
    world.config["config"]["reader"] = {"batch_size": 1, "start_from": "beginning"}
    world.config["config"]["streams"] = {"enabled": False}
    for number in range(600):
        world.write("market_data", to_json({"symbol": "BTC/USDT", "price": 100 + number / 1e6}))
    async with world.running():
        await eventually(lambda: [rule for rule, _ in own(world)][:1] == ["lectura_retrasada"])
        await eventually(lambda: ended(world, "lectura_retrasada") == [True], 60.0)


async def test_messages_that_are_given_up_are_told(world: World) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        discord.refuses = "BTC"
        async with world.running():
            loss(world, -500)
            loss(world, -600)
            await eventually(lambda: statuses(world, "discord").get("dead") == 2)
            await eventually(lambda: len(own(world)) == 1)
            ((rule, title),) = own(world)
            assert (rule, title) == ("avisos_abandonados", "Un aviso de discord sin entregar")
            assert "discord" not in told(world, "avisos_abandonados")
            await eventually(lambda: len(smtp.messages) == 3)
