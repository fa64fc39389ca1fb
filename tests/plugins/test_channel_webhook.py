"""Channel `webhook`: what is sent, how it is signed; and the documents' channel of one's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest
import yaml
from pydantic import ValidationError

from src.plugins.alert_manager.domain.delivery import Disabled, Retry, Sent
from src.plugins.alert_manager.settings import check
from src.plugins.alert_manager.utils import channels
from src.plugins.alert_manager.utils.channels.webhook import WebhookChannel, WebhookSettings
from src.plugins.alert_manager.utils.channels.webhook_signature import signature
from tests.plugins.channel_messages import LEAKY, MESSAGE, SECRET
from tests.plugins.conftest import PROJECT, shipped_config
from tests.support.discord import Answer, DiscordServer

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_alerts_are_posted_as_the_documents_say(server: DiscordServer) -> None:
    server.always = Answer(200)
    channel = WebhookChannel(WebhookSettings(url=server.webhook_url, secret=KEY))
    batch = [MESSAGE, replace(MESSAGE, alert_id=13, recovered=True, text="Volvió.")]
    for _ in range(2):
        assert await channel.send(batch) == Sent()
    await channel.send(batch[:1])
    await channel.close()
    first, again, other = server.requests
    assert first.payload == {
        "alerts": [
            {
                "id": 12,
                "severity": "critica",
                "status": "abierta",
                "kind": "alert",
                "number": 0,
                "title": MESSAGE.title,
                "message": MESSAGE.text,
                "channel": "alertas",
                "rule": "circuit_breaker",
                "event_data": MESSAGE.event_data,
                "timestamp": MESSAGE.timestamp,
            },
            {**first.payload["alerts"][0], "id": 13, "status": "resuelta", "message": "Volvió."},
        ]
    }
    assert first.headers["Content-Type"] == "application/json"
    # Who gets the same twice can tell.
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.headers["webhook-id"] != other.headers["webhook-id"]


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the specification (github.com/standard-webhooks/standard-webhooks).
    identity, timestamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
    body = b'{"test": 2432232314}'
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, identity, timestamp, body) == expected


async def test_what_is_sent_is_what_is_signed(server: DiscordServer) -> None:
    server.always = Answer(200)
    channel = WebhookChannel(WebhookSettings(url=server.webhook_url, secret="k" * 20))
    await channel.send([LEAKY])
    await channel.close()
    (request,) = server.requests
    text = json.dumps(request.payload, separators=(",", ":"), ensure_ascii=False)
    assert SECRET not in text
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.{text}"
    digest = hmac.new(b"k" * 20, signed.encode(), hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({}, "falta"),
        ({"url": "http://casa.example/x"}, "http sin cifrar"),
        ({"url": "ftp://casa.example/x"}, "no es una dirección web"),
        ({"url": "https://ana:clave@casa.example/x"}, "lleva un usuario"),
        ({"url": "https://casa.example/x", "secret": "corta"}, "al menos 16"),
        ({"url": "https://casa.example/x", "secret": "whsec_%%%"}, "base64"),
    ],
)
def test_faults(said: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        WebhookSettings(**said)
    assert "clave" not in str(caught.value).replace("la clave", "")


def documented(name: str, language: str) -> list[str]:
    text = (PROJECT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", ["channels.md", "channels.en.md"])
def test_every_example_of_the_documents_is_valid(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (PROJECT / "docs" / name).read_text(encoding="utf-8")
    variables = dict(re.findall(r"\$\{(\w+)\}\s+# (\w+://\S+)", text))
    variables["SMS_URL"] = f"twilio://AC{'0' * 32}:{'f' * 32}@+15551230000/+5215512345678"
    variables["DISCORD_WEBHOOK_URL"] = "https://discord.com/api/webhooks/1188000000000000001/abc"
    variables |= {"CASA_SECRET": KEY, "SMTP_PASSWORD": "x"}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    first, *entries = documented(name, "yaml")
    config = shipped_config() | yaml.safe_load(first)
    for entry in map(yaml.safe_load, entries):
        config["alert_config"] |= entry.pop("alert_config", {})
        config["notification_config"] |= entry
    config["notification_config"] |= {name: {"enabled": False} for name in ("email", "discord")}
    config["notification_channels"] = list(config["notification_config"])
    loaded = check(config)
    assert {"slack", "sms", "telegram", "casa", "email_ana"} <= set(loaded.channels)


def test_both_languages_show_the_same_channel() -> None:
    assert documented("channels.md", "python") == documented("channels.en.md", "python")


@pytest.fixture
def own_channel() -> Iterator[ModuleType]:
    """The documents' channel, as if its file were beside the others."""
    source = documented("channels.md", "python")[0]
    assert source.count("\n") < 100
    name = f"{channels.__name__}.ntfy"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, "docs/channels.md", "exec"), module.__dict__)
    yield module
    del sys.modules[name]


def test_the_documents_channel_checks_its_address(own_channel: ModuleType) -> None:
    for server in ("not a url", "http://ntfy.example/"):
        with pytest.raises(ValidationError):
            own_channel.NtfySettings(topic="corec-7", server=server)


async def test_the_documents_channel_works(server: DiscordServer, own_channel: ModuleType) -> None:
    settings = own_channel.NtfySettings(topic="corec-7", server=f"http://127.0.0.1:{server.port}/")
    channel = own_channel.NtfyChannel(settings)
    server.script.extend([Answer(200, {"id": "x"}), Answer(503), Answer(403, "corec-7 no")])
    assert await channel.send([MESSAGE]) == Sent()
    assert isinstance(await channel.send([MESSAGE]), Retry)
    refused = await channel.send([MESSAGE])
    assert isinstance(refused, Disabled)
    assert "corec-7" not in refused.reason
    await channel.close()
    assert server.requests[0].payload["title"].startswith("CRÍTICA: Disyuntor abierto")
    assert server.requests[0].payload["priority"] == 5
