"""Slack, SMS and Telegram as the documents have them: what their servers are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from src.plugins.alert_manager.domain.delivery import Disabled, Retry, Sent
from src.plugins.alert_manager.utils.channels.apprise_service import (
    AppriseChannel,
    AppriseSettings,
)
from tests.plugins.channel_messages import MESSAGE
from tests.plugins.conftest import PROJECT
from tests.support.discord import Answer
from tests.support.https import services

SERVICES = {
    "slack": ("hooks.slack.com", "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "ok"),
    "twilio": ("api.twilio.com", "/2010-04-01/Accounts/{account}/Messages.json", {"sid": "SM1"}),
    "tgram": (
        "api.telegram.org",
        "/bot123456789:AAFabcdefghijklmnopqrstuvwxyz_12345/sendMessage",
        {"ok": True, "result": {"message_id": 7}},
    ),
}


def documented(scheme: str) -> str:
    """Returns the URL that docs/channels.md shows."""
    text = (PROJECT / "docs" / "channels.md").read_text(encoding="utf-8")
    found = re.search(rf"# ({scheme}://\S+)", text)
    assert found is not None
    account = "AC" + "0123456789abcdef" * 2
    return found[1].replace("ACCOUNT_SID", account).replace("AUTH_TOKEN", "f" * 32)


@pytest.mark.parametrize("scheme", SERVICES)
async def test_the_documented_service_is_told(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, path, answer = SERVICES[scheme]
    url = documented(scheme)
    channel = AppriseChannel(AppriseSettings(url=url, timeout=10))
    async with services([host], tmp_path, monkeypatch) as server:
        server.always = Answer(201 if scheme == "twilio" else 200, answer)
        assert await channel.send([MESSAGE]) == Sent()
        (request,) = server.requests
        assert request.path == path.replace("{account}", "AC" + "0123456789abcdef" * 2)
        assert request.headers["Host"] == host
        server.always = Answer(429, {"message": "slow down", "code": 429})
        limited = await channel.send([MESSAGE])
        assert isinstance(limited, Retry)
        assert limited.throttled
        server.always = Answer(404 if scheme != "twilio" else 401, {"description": "nobody"})
        gone = await channel.send([MESSAGE])
        assert isinstance(gone, Disabled)
        assert "revisa url" in gone.reason
        for secret in re.findall(r"\w{12,}", url):
            assert secret not in gone.reason + limited.reason


def test_a_service_that_nobody_knows_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="Apprise no conoce ese servicio") as caught:
        AppriseSettings(url="fax://clave-secreta@123")
    assert "clave-secreta" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["slack", "twilio", "tgram"])
def test_an_address_with_several_targets_is_refused(scheme: str) -> None:
    """Apprise does not say whom of them it told: all would be told again."""
    another = {"slack": "/#otros", "twilio": "/+5215599999999", "tgram": "/-1009999999999"}
    several = documented(scheme) + another[scheme]
    with pytest.raises(ValueError, match="avisa a 2 destinos"):
        AppriseSettings.model_validate({"enabled": True, "url": several})
