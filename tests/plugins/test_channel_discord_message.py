from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.delivery import Message, Sent
from src.plugins.alert_manager.domain.escape import utf16_length
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.utils.channels.discord import DiscordChannel
from tests.plugins.channel_messages import HOSTILE, LEAKY, MESSAGE, SECRET, any_message
from tests.support.discord import DiscordServer
from tests.support.discord_limits import size_of


async def test_message_shape(server: DiscordServer, channel: DiscordChannel) -> None:
    assert await channel.send([MESSAGE]) == Sent(server.messages[0]["id"])
    (request,) = server.requests
    assert request.query == {"wait": "true"}
    assert request.payload["username"] == "CoreC"
    assert request.payload["allowed_mentions"] == {"parse": []}
    (embed,) = request.payload["embeds"]
    assert embed["title"] == r"CRÍTICA: Disyuntor abierto en trading\_execution"
    assert embed["color"] == 0xC0392B
    assert embed["timestamp"] == "2025-11-23T04:26:40.500000+00:00"
    assert embed["footer"] == {"text": "CoreC · alerta 12"}
    assert all(entry["inline"] for entry in embed["fields"])
    assert {entry["name"]: entry["value"] for entry in embed["fields"]} == {
        "Severidad": "Crítica",
        "Regla": r"circuit\_breaker",
        "Canal": "alertas",
        "Plugin": r"trading\_execution",
        "Exchange": "kraken",
        "Símbolo": "BTC/USDT",
        "Usuario": "user1",
        "Hora": "22/11/2025 22:26:40",
        "ID de alerta": "12",
    }


async def test_each_severity_has_its_colour(server: DiscordServer, channel: DiscordChannel) -> None:
    await channel.send([replace(MESSAGE, severity=severity) for severity in Severity])
    await channel.send([replace(MESSAGE, recovered=True)])
    assert len({embed["color"] for embed in server.embeds}) == len(Severity) + 1


async def test_absent_fields_are_left_out(server: DiscordServer, channel: DiscordChannel) -> None:
    await channel.send([replace(MESSAGE, event_data={"plugin": None, "symbol": "", "user_id": []})])
    names = [entry["name"] for entry in server.embeds[0]["fields"]]
    assert names == ["Severidad", "Regla", "Canal", "Hora", "ID de alerta"]


async def test_ten_alerts_in_one_message(server: DiscordServer, channel: DiscordChannel) -> None:
    short = replace(MESSAGE, text="breve")
    long = replace(MESSAGE, text="texto " * 2000, title="título " * 100)
    assert isinstance(await channel.send([short] * 8 + [long] * 2), Sent)
    descriptions = [embed["description"] for embed in server.embeds]
    assert descriptions[:8] == ["breve"] * 8
    # What eight short ones leave goes to the two long ones, and hardly anything is wasted.
    assert min(map(len, descriptions[8:])) > 1000
    assert 5900 < sum(map(size_of, server.embeds)) <= 6000


async def test_ten_alerts_of_the_longest_texts_still_say_something(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    long = "texto largo " * 300
    data = dict.fromkeys(("plugin", "exchange", "symbol", "user_id"), long)
    worst = Message(2**63 - 1, 1, Severity.CRITICA, long, long, long, long, data, 0.0)
    assert isinstance(await channel.send([worst] * 10), Sent)
    for embed in server.embeds:
        assert len(embed["title"]) > 100
        assert len(embed["description"]) > 100


async def test_mentions_and_markdown_are_inert(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    assert isinstance(await channel.send([HOSTILE]), Sent)
    for text in _texts(server.embeds[0]):
        assert text.isprintable() or "\u200b" in text
        assert "@everyone" not in text
        for live in ("<@123456789>", "<#42>"):
            assert text.count(live) == text.count("\\" + live)
        assert "**" not in text
        assert "](" not in text.replace(r"\](", "")
        assert "://" not in text.replace(r"\://", "")


async def test_no_secret_of_an_event(server: DiscordServer, channel: DiscordChannel) -> None:
    assert isinstance(await channel.send([LEAKY]), Sent)
    assert SECRET not in str(server.messages)


async def test_a_huge_event_holds_up_nobody(server: DiscordServer, channel: DiscordChannel) -> None:
    huge = replace(MESSAGE, event_data={"plugin": "a_b " * 500_000})
    started = time.process_time()
    assert isinstance(await channel.send([huge] * 10), Sent)
    assert time.process_time() - started < 2.0  # 8 s when all of it was cleaned


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batch=st.lists(any_message, min_size=1, max_size=10))
async def test_discord_accepts_any_batch(
    server: DiscordServer, channel: DiscordChannel, batch: list[Message]
) -> None:
    outcome = await channel.send(batch)
    assert isinstance(outcome, Sent), outcome
    embeds = server.messages[-1]["embeds"]
    assert len(embeds) == len(batch)
    # Also when Discord counted UTF-16 units, as its clients do.
    assert sum(utf16_length(text) for embed in embeds for text in _texts(embed)) <= 6000


def _texts(embed: dict[str, Any]) -> list[str]:
    texts = [embed["title"], embed["description"], embed["footer"]["text"]]
    return texts + [entry[part] for entry in embed["fields"] for part in ("name", "value")]
