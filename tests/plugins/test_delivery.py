"""Delivery: from `eventos` to a mail server and a Discord, with their faults."""

from __future__ import annotations

import asyncio
import time
from email.message import EmailMessage
from typing import Any

import pytest

from src.plugins.alert_manager.domain.backoff import retry_delay
from src.plugins.alert_manager.domain.breaker import Breaker
from src.plugins.alert_manager.processors.alert_processor import AlertProcessor
from tests.plugins.conftest import World, eventually
from tests.plugins.test_alert_manager import SPEC_EVENTS
from tests.support.discord import BROKEN, GONE, DiscordServer, limited
from tests.support.smtp import SmtpServer


def tell(world: World, discord: DiscordServer | None, smtp: SmtpServer | None) -> None:
    """Points the shipped configuration at local servers, and makes failures quick."""
    world.config["config"]["delivery"] = {"retry_base": 0.1, "retry_cap": 0.3}
    world.config["config"]["circuit_breaker"] = {"max_failures": 3, "reset_timeout": 0.3}
    if discord is not None:
        world.config["notification_config"]["discord"] = {
            "enabled": True,
            "webhook_url": discord.webhook_url,
        }
    if smtp is not None:
        world.config["notification_config"]["email"] = {
            "enabled": True,
            "smtp_server": smtp.host,
            "smtp_port": smtp.port,
            "tls": "none",
            "sender": "corec@example.com",
            "recipient": "familia@example.com",
        }


def write_spec_events(world: World) -> None:
    for canal, datos, _ in SPEC_EVENTS:
        world.write(canal, datos)


def statuses(world: World, channel: str) -> dict[str, int]:
    """Counts the messages of a channel; those about ourselves left out."""
    sql = (
        "SELECT n.status, count(*) FROM notifications AS n JOIN alerts AS a ON a.id = alert_id"
        " WHERE n.channel = %s AND a.channel <> 'alert_data' GROUP BY 1"
    )
    return dict(world.alert(sql, (channel,)))


async def until_health_says(processor: AlertProcessor, part: str, text: str) -> None:
    """Waits until a part's state, as /health shows it, mentions a text."""
    async with asyncio.timeout(30):
        while text not in (await processor.salud()).parts[part].detail:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def fields(embed: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in embed["fields"]}


async def test_each_of_the_five_arrives_by_mail_and_discord_once(world: World) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        async with world.running():
            write_spec_events(world)
            await eventually(lambda: statuses(world, "discord") == {"sent": 5})
            await eventually(lambda: statuses(world, "email") == {"sent": 5})
        alerts = world.alerts()
        assert [sorted({e["footer"]["text"] for e in discord.embeds})] == [
            sorted(f"CoreC · alerta {a['id']}" for a in alerts)
        ]
        assert len(discord.embeds) == 5
        assert all(m["allowed_mentions"] == {"parse": []} for m in discord.messages)
        colours = {fields(e)["Severidad"]: e["color"] for e in discord.embeds}
        assert len(set(colours.values())) == 2
        mails = [received.mail for received in smtp.messages]
        assert len({mail["Message-ID"] for mail in mails}) == 5
        for mail in mails:
            parts = [part.get_content_type() for part in mail.iter_parts()]
            assert parts == ["text/plain", "text/html"]
            for kind in ("plain", "html"):
                body = mail.get_body((kind,))
                assert isinstance(body, EmailMessage)
                assert any(str(a["id"]) in body.get_content() for a in alerts)


async def test_a_repeat_sends_no_second_message(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        async with world.running():
            world.write(*SPEC_EVENTS[0][:2])
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        async with world.running():
            world.write(*SPEC_EVENTS[0][:2])
            await eventually(lambda: [a["occurrences"] for a in world.alerts()] == [2])
            world.write(*SPEC_EVENTS[1][:2])
            await eventually(lambda: statuses(world, "discord") == {"sent": 2})
        assert len(discord.embeds) == 2


async def test_a_rate_limit_is_obeyed_costs_no_attempt_and_drops_nothing(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        discord.script.extend([limited(0.4), limited(0.3), limited(0.3, is_global=True)])
        async with world.running():
            write_spec_events(world)
            await eventually(lambda: statuses(world, "discord") == {"sent": 5})
        assert discord.early == 0
        assert len(discord.embeds) == 5
        attempts = world.alert("SELECT max(attempts) FROM notifications")
        assert attempts == [(1,)]


async def test_a_failing_channel_opens_its_breaker_recovers_and_delays_no_other(
    world: World,
) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        discord.always = BROKEN
        async with world.running() as processor:
            started = time.monotonic()
            write_spec_events(world)
            await eventually(lambda: statuses(world, "email") == {"sent": 5})
            assert time.monotonic() - started < 3.0
            await eventually(lambda: len(discord.requests) >= 4)
            assert statuses(world, "discord") == {"pending": 5}
            report = await processor.salud()
            assert report.state == "degradado"  # the mail tells
            assert "502" in report.parts["canal discord"].detail
            discord.always = None
            await eventually(lambda: statuses(world, "discord") == {"sent": 5})
        about_events = [e for e in discord.embeds if fields(e)["Canal"] != r"alert\_data"]
        assert len(about_events) == 5


async def test_a_webhook_that_is_gone_is_asked_once_and_all_waits_for_a_restart(
    world: World,
) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        discord.always = GONE
        async with world.running() as processor:
            write_spec_events(world)
            await eventually(lambda: statuses(world, "log") == {"sent": 5})
            await until_health_says(processor, "canal discord", "deshabilitado")
        assert len(discord.requests) == 1
        assert statuses(world, "discord") == {"pending": 5}
        rows = world.alert(
            "SELECT attempts, last_error FROM notifications"
            " WHERE channel = 'discord' AND last_error IS NOT NULL"
        )
        assert rows
        for attempts, reason in rows:
            assert attempts == 0
            assert "404" in reason
            assert discord.webhook_url.rsplit("/", 1)[1] not in reason
        discord.always = None
        async with world.running():
            await eventually(lambda: statuses(world, "discord") == {"sent": 5})


async def test_a_wrong_password_is_tried_once_and_the_mail_waits_for_a_restart(
    world: World,
) -> None:
    async with SmtpServer(tls="starttls", login=("corec@example.com", "la-buena")) as smtp:
        tell(world, None, smtp)
        email = world.config["notification_config"]["email"]
        email |= {"tls": "starttls", "ca_file": smtp.ca_file, "password": "la-mala"}
        async with world.running() as processor:
            write_spec_events(world)
            await until_health_says(processor, "canal email", "535")
        assert smtp.commands.count("CONNECT") == 1
        assert statuses(world, "email") == {"pending": 5}
        email["password"] = "la-buena"
        async with world.running():
            await eventually(lambda: statuses(world, "email") == {"sent": 5})


async def test_min_severity_keeps_the_rest_away_from_a_channel(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        world.config["notification_config"]["discord"]["min_severity"] = "crítica"
        async with world.running():
            write_spec_events(world)
            await eventually(lambda: statuses(world, "log") == {"sent": 5})
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        assert [fields(e)["Severidad"] for e in discord.embeds] == ["Crítica"]


@pytest.mark.parametrize("attempt", [1, 2, 5, 50, 5000])
def test_backoff_is_jittered_under_a_growing_and_capped_ceiling(attempt: int) -> None:
    ceiling = min(900.0, 2.0 * 2 ** min(attempt - 1, 30))
    assert retry_delay(attempt, 0.0) == 0.0
    assert retry_delay(attempt, 0.5) == ceiling / 2
    assert retry_delay(attempt, 0.999) < ceiling


def test_a_breaker_opens_probes_and_closes() -> None:
    breaker = Breaker(max_failures=2, reset_timeout=10.0).failed(0.0)
    assert (breaker.is_open, breaker.wait(0.0)) == (False, 0.0)
    breaker = breaker.failed(1.0)
    assert (breaker.is_open, breaker.wait(5.0), breaker.wait(11.0)) == (True, 6.0, 0.0)
    assert breaker.failed(12.0).wait(12.0) == 10.0
    assert breaker.succeeded() == Breaker(2, 10.0)


async def test_a_channel_tells_an_alert_in_its_own_words(world: World) -> None:
    rules = world.config["alert_config"]["rules"]
    (loss,) = [rule for rule in rules if rule["name"] == "perdida"]
    loss["words"] = {
        "discord": {"title": "{{ symbol }}: {{ valor|dinero }}", "message": "De {{ user_id }}."},
        "email": {"message": "{{ falla() }}"},
    }
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        async with world.running():
            payload = b'{"profit": -150, "symbol": "BTC @everyone", "user_id": "ana"}'
            world.write("trading_results", payload)
            await eventually(lambda: statuses(world, "email") == {"sent": 1})
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
        (embed,) = discord.embeds
        assert embed["description"] == "De ana."
        assert "-$150.00" in embed["title"]
        assert "@everyone" not in embed["title"]  # escaped, as everywhere
        body = smtp.messages[0].mail.get_body(("plain",))
        assert isinstance(body, EmailMessage)
        assert "La plantilla de perdida falló" in body.get_content()
    (alert,) = world.alerts()
    assert alert["title"] == "Pérdida de $150.00 en BTC @everyone"
    assert alert["words"]["discord"]["message"] == "De ana."
