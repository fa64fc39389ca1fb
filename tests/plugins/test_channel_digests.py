"""Digests as channels tell them: who is named, what is left out, how a receiver knows them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from src.plugins.alert_manager.domain.delivery import Message, Sent
from src.plugins.alert_manager.domain.digest import digest
from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.utils.channels.addresses import secret_parts
from src.plugins.alert_manager.utils.channels.apprise_service import AppriseChannel, AppriseSettings
from src.plugins.alert_manager.utils.channels.discord_message import payload
from src.plugins.alert_manager.utils.channels.discord_settings import DiscordSettings
from src.plugins.alert_manager.utils.channels.webhook import WebhookChannel, WebhookSettings
from tests.plugins.channel_messages import MESSAGE
from tests.support.discord import Answer, DiscordServer
from tests.support.discord_limits import faults_of

TEXT = "El disyuntor de trading_execution se abrió y no se envían órdenes. " * 6  # 400 characters


def many(count: int, severity: Severity = Severity.CRITICA) -> list[Message]:
    return [
        replace(MESSAGE, alert_id=n, severity=severity, title=f"Caso {n}", text=TEXT)
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [60, 200, 1000])
def test_discord_names_as_many_as_fit_and_says_how_many_more(count: int) -> None:
    content = payload([digest(many(count))], "CoreC", Formats())
    (embed,) = content["embeds"]
    named = embed["description"].count("CRÍTICA: Caso")
    assert named >= 60
    assert faults_of(content) is None
    last = embed["description"].splitlines()[-1]
    assert last.startswith("… y ")
    assert "alerts.sh list" in last


async def test_a_short_message_names_some_and_says_so(server: DiscordServer) -> None:
    server.always = Answer(200)
    url = f"json://127.0.0.1:{server.port}/x"
    channel = AppriseChannel(AppriseSettings(enabled=True, url=url))
    assert await channel.send([digest(many(100))]) == Sent()
    text = server.requests[-1].payload["message"]
    assert text.count("CRÍTICA: Caso") >= 20
    assert "líneas más: ./scripts/alerts.sh list" in text
    assert len(text) <= 1400
    await channel.close()


async def test_digests_of_other_alerts_are_other_messages(server: DiscordServer) -> None:
    server.always = Answer(200)
    channel = WebhookChannel(WebhookSettings(url=server.webhook_url))
    for batch in (many(1)[0], digest(many(60)), digest(many(100)), digest(many(60))):
        assert await channel.send([batch]) == Sent()
    ids = [request.headers["webhook-id"] for request in server.requests]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]
    (said,) = server.requests[1].payload["alerts"]
    assert (said["id"], said["kind"], said["alerts"]) == (None, "digest", list(range(1, 61)))
    await channel.close()


def test_what_is_over_leads_no_digest() -> None:
    over = replace(MESSAGE, kind="recovery", recovered=True, severity=Severity.CRITICA)
    found = digest([over, *many(21, Severity.BAJA)])
    assert (found.severity, found.recovered, found.kind) == (Severity.BAJA, False, "digest")
    assert found.title == "22 alertas juntas: 21 bajas, 1 que se resolvió"


async def test_large_events_stop_nothing_else(server: DiscordServer) -> None:
    server.always = Answer(200)
    channel = WebhookChannel(WebhookSettings(url=server.webhook_url))
    large = {"filas": [{"n": n, "texto": "x" * 80} for n in range(10_000)]}  # a megabyte
    batch = [replace(MESSAGE, alert_id=n, event_data=large) for n in range(100)]
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    assert await channel.send(batch) == Sent()
    watching.cancel()
    assert longest < 0.5
    data = server.requests[0].payload["alerts"][7]["event_data"]
    assert data["recortado"].endswith("bytes; enteros: ./scripts/alerts.sh show 7 --json")
    await channel.close()


def test_a_key_is_hidden_as_it_is_written_and_as_it_is_read() -> None:
    parts = secret_parts("https://h.example/hook/Zx9%2FqW%2BeR7tY%3D%3D?k=a1b2c3&n=1")
    assert {"Zx9%2FqW%2BeR7tY%3D%3D", "Zx9/qW+eR7tY==", "a1b2c3"} <= set(parts)
    assert "1" not in parts
    assert list(parts) == sorted(parts, key=len, reverse=True)


def worst_named(count: int) -> list[Message]:
    """Of as many rules, with titles that are long and have to be escaped."""
    return [
        replace(m, rule=f"regla_larga_{m.alert_id}", title=f"{m.alert_id:05}" + "_*`" * 60)
        for m in many(count)
    ]


def test_what_discord_asks_for_it_names() -> None:
    asked = DiscordSettings.names
    content = payload([digest(worst_named(asked))], "CoreC", Formats())
    text = content["embeds"][0]["description"]
    assert faults_of(content) is None
    assert all(f"CRÍTICA: {number:05}" in text for number in range(1, asked + 1))


async def test_what_a_short_message_asks_for_it_names(server: DiscordServer) -> None:
    server.always = Answer(200)
    asked = AppriseSettings.names
    url = f"json://127.0.0.1:{server.port}/x"
    channel = AppriseChannel(AppriseSettings(enabled=True, url=url))
    assert await channel.send([digest(worst_named(asked))]) == Sent()
    await channel.close()
    text = server.requests[-1].payload["message"]
    assert all(f"CRÍTICA: {number:05}" in text for number in range(1, asked + 1))
