from __future__ import annotations

import pytest
from pydantic import ValidationError

from src.plugins.alert_manager.utils.channels.discord import DiscordChannel, DiscordSettings
from tests.support.discord import TOKEN

REAL_URL = f"https://discord.com/api/webhooks/1188000000000000001/{TOKEN}"


@pytest.mark.parametrize(
    "url",
    [
        REAL_URL,
        REAL_URL.replace("/api/", "/api/v10/"),
        REAL_URL.replace("discord.com", "discordapp.com"),
        REAL_URL.replace("discord.com", "ptb.discord.com"),
        REAL_URL.replace("discord.com", "canary.discord.com:443"),
        f"{REAL_URL}?thread_id=123",
        f"  {REAL_URL}\n",
        "http://127.0.0.1:8080/whatever",
        "http://localhost/x",
        "http://[::1]:99/x",
        "https://127.9.9.9/x",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    found = DiscordSettings(webhook_url=url).webhook_url
    assert found is not None
    assert found.get_secret_value() == url.strip()
    DiscordChannel(DiscordSettings(webhook_url=url))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (REAL_URL.replace("https", "http"), "sin cifrar"),
        (REAL_URL.replace("discord.com", "discord.com.malo.example"), "no es un servidor"),
        (REAL_URL.replace("discord.com", "malo.example"), "no es un servidor"),
        (REAL_URL.replace("discord.com", "discord.com:8443"), "no es un servidor"),
        (REAL_URL.replace("discord.com", "discord.com@malo.example"), "usuario"),
        (REAL_URL.replace("discord.com", "127.0.0.1@malo.example"), "usuario"),
        (REAL_URL.replace("discord.com", "discord.com\\@malo.example"), "usuario"),
        (REAL_URL.replace("discord.com", "127.0.0.1.malo.example"), "no es un servidor"),
        (REAL_URL.replace("/api/", "/"), "la forma"),
        (REAL_URL.replace("webhooks/", "webhooks/x/"), "la forma"),
        (f"{REAL_URL}?token={TOKEN}", "la forma"),
        (f"{REAL_URL}/slack", "la forma"),
        (f"{REAL_URL}#{TOKEN}", "fragmento"),
        (f"ftp://discord.com/{TOKEN}", "dirección web"),
        (f"https://discord.com:puerto/{TOKEN}", "dirección web"),
        (f"https://discord.com/api/webhooks/1/{TOKEN}\r\nX: y", "dirección web"),
        (f"https://[::1/{TOKEN}", "dirección web"),
        (TOKEN, "dirección web"),
        ("", "falta"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DiscordSettings(webhook_url=url)
    (fault,) = caught.value.errors(include_input=False)
    assert fault["loc"] == ("webhook_url",)
    assert said in str(fault["ctx"]["error"])
    assert TOKEN not in str(fault)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("url", [None, "", "https://discord.com/api/webhooks/TU_WEBHOOK"])
def test_a_disabled_channel_needs_no_address(url: str | None) -> None:
    checked = DiscordSettings(enabled=False, webhook_url=url)
    if not url:
        with pytest.raises(ValueError, match="webhook_url"):
            DiscordChannel(checked)


@pytest.mark.parametrize("name", ["", "  ", "Clyde", "mi DISCORD", "x" * 81])
def test_names_that_discord_refuses(name: str) -> None:
    with pytest.raises(ValidationError):
        DiscordSettings(webhook_url=REAL_URL, username=name)
