"""What every channel keeps to: each outcome is done, retry or dead, and no secret is anywhere."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from src.plugins.alert_manager.domain.delivery import (
    Disabled,
    Outcome,
    Rejected,
    Retry,
    Sent,
)
from src.plugins.alert_manager.utils.channels.apprise_service import (
    AppriseChannel,
    AppriseSettings,
)
from src.plugins.alert_manager.utils.channels.base import Channel
from src.plugins.alert_manager.utils.channels.discord import DiscordChannel, DiscordSettings
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from src.plugins.alert_manager.utils.channels.log import LogChannel, LogSettings
from src.plugins.alert_manager.utils.channels.registry import KINDS
from src.plugins.alert_manager.utils.channels.webhook import WebhookChannel, WebhookSettings
from tests.plugins.channel_messages import HOSTILE, LEAKY, MESSAGE, SECRET, refusing_port
from tests.support.discord import CUT, TOKEN, WEBHOOK_ID, Answer, DiscordServer
from tests.support.smtp import SmtpServer

Made = Callable[[str, float], Channel]
"""Makes a channel for an address, with the seconds that a send may take."""

SIGNING = "whsec_" + b64encode(b"firma-de-la-familia-0123").decode()
PATH = f"/api/webhooks/{WEBHOOK_ID}/{TOKEN}"


def discord(base: str, seconds: float) -> Channel:
    return DiscordChannel(DiscordSettings(webhook_url=f"{base}{PATH}", timeout=seconds))


def webhook(base: str, seconds: float) -> Channel:
    return WebhookChannel(
        WebhookSettings(url=f"{base}{PATH}?clave={TOKEN}", secret=SIGNING, timeout=seconds)
    )


def apprise(base: str, seconds: float) -> Channel:
    scheme = "jsons" if base.startswith("https") else "json"
    url = f"{scheme}://{base.partition('//')[2]}{PATH}?rto={seconds}&cto={seconds}"
    return AppriseChannel(AppriseSettings(url=url, timeout=seconds))


HTTP: dict[str, Made] = {"discord": discord, "webhook": webhook, "apprise": apprise}

STATUSES: list[tuple[int, type[Outcome]]] = [
    (200, Sent),
    (301, Disabled),
    (307, Disabled),
    (400, Rejected),
    (401, Disabled),
    (403, Disabled),
    (404, Disabled),
    (405, Rejected),
    (408, Retry),
    (409, Rejected),
    (410, Disabled),
    (413, Rejected),
    (422, Rejected),
    (425, Retry),
    (429, Retry),
    (500, Retry),
    (502, Retry),
    (503, Retry),
    (504, Retry),
]


@asynccontextmanager
async def opened(made: Made, base: str, seconds: float = 5.0) -> AsyncIterator[Channel]:
    channel = made(base, seconds)
    try:
        yield channel
    finally:
        await channel.close()
        await channel.close()  # twice harms nobody


def spoken(outcome: Outcome) -> str:
    return (outcome.refused or "") if isinstance(outcome, Sent) else outcome.reason


def base_of(server: DiscordServer) -> str:
    return server.webhook_url.removesuffix(PATH)


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_each_status(
    server: DiscordServer, kind: str, status: int, expected: type[Outcome]
) -> None:
    location = {"Location": f"http://127.0.0.1:{server.port}/otra"} if status < 400 else {}
    server.always = Answer(status, {"message": f"eco {TOKEN}"}, location)
    async with opened(HTTP[kind], base_of(server)) as channel:
        outcome = await channel.send([MESSAGE])
    assert type(outcome) is expected
    assert len(server.requests) == 1  # a redirect is not followed
    assert TOKEN not in spoken(outcome)
    if expected is not Sent:
        assert str(status) in spoken(outcome) or status == 429
    if status == 429:
        assert isinstance(outcome, Retry)
        assert (outcome.throttled, (outcome.after or 0) > 0) == (True, True)


@pytest.mark.parametrize(
    "secret", [SIGNING, SIGNING.removeprefix("whsec_"), "firma-de-la-familia-0123"]
)
async def test_a_server_that_repeats_the_signing_secret_shows_it_to_nobody(
    server: DiscordServer, secret: str
) -> None:
    server.always = Answer(401, {"message": f"expected key {secret}"})
    async with opened(webhook, base_of(server)) as channel:
        outcome = await channel.send([MESSAGE])
    assert isinstance(outcome, Disabled)
    assert "expected key" in outcome.reason
    assert secret not in outcome.reason


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize("fault", ["cut", "slow", "refused", "no TLS"])
async def test_each_fault_of_the_network_is_one_to_try_again(
    kind: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with DiscordServer() as plain:
        plain.always = CUT if fault == "cut" else Answer(200, delay=5.0)
        base = base_of(plain)
        if fault == "no TLS":
            base = base.replace("http://", "https://")
        with refusing_port() as nobody:
            if fault == "refused":
                base = f"http://127.0.0.1:{nobody}"
            async with opened(HTTP[kind], base, 0.5) as channel:
                outcome = await channel.send([MESSAGE])
    assert isinstance(outcome, Retry)
    assert (outcome.throttled, outcome.after) == (False, None)
    assert TOKEN not in outcome.reason
    assert TOKEN not in caplog.text


async def sent_from_another_process(kind: str, base: str, authority: Path) -> list[str]:
    """The outcome's type and reason of a send by who trusts this authority and no other."""
    script = (
        "import asyncio, sys\n"
        "from tests.plugins.test_channel_conformance import HTTP, MESSAGE, opened, spoken\n"
        "async def main():\n"
        "    async with opened(HTTP[sys.argv[1]], sys.argv[2]) as channel:\n"
        "        outcome = await channel.send([MESSAGE])\n"
        "    print(type(outcome).__name__, spoken(outcome), sep='\\n')\n"
        "asyncio.run(main())\n"
    )
    trusted = {"SSL_CERT_FILE": str(authority), "REQUESTS_CA_BUNDLE": str(authority)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, kind, base),
        env={**os.environ, **trusted},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    assert TOKEN not in complaint.decode()
    return said.decode().splitlines()


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize(
    ("certificate", "expected"),
    [("good", "Sent"), ("another name", "Retry"), ("expired", "Retry"), ("untrusted", "Retry")],
)
async def test_only_a_certificate_that_is_valid_is_told_anything(
    kind: str, certificate: str, expected: str, tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    name = "otro.example" if certificate == "another name" else "127.0.0.1"
    ended = datetime.now(UTC) - timedelta(days=1) if certificate == "expired" else None
    issuer = stranger if certificate == "untrusted" else authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name, not_after=ended).configure_cert(context)
    async with DiscordServer(tls=context) as server:
        server.always = Answer(200, {})
        base = base_of(server)
        outcome, *reason = await sent_from_another_process(kind, base, tmp_path / "ca.pem")
        assert len(server.requests) == (1 if expected == "Sent" else 0)
    assert outcome == expected
    assert TOKEN not in "".join(reason)
    if expected == "Retry" and kind != "apprise":  # which says no more than that it failed
        assert "el certificado TLS de" in reason[0]


@asynccontextmanager
async def talking(kind: str) -> AsyncIterator[tuple[Channel, Callable[[], str]]]:
    """A channel of any kind whose server takes everything, and what arrived there."""
    if kind == "log":
        records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("corec.alertas")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield LogChannel(LogSettings()), lambda: "\n".join(records)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
    elif kind == "email":
        async with SmtpServer() as smtp:
            settings = EmailSettings(
                smtp_server=smtp.host,
                smtp_port=smtp.port,
                tls="none",
                sender="corec@example.com",
                recipient="familia@example.com",
            )
            yield (
                EmailChannel(settings),
                lambda: "".join(
                    part.get_content()
                    for received in smtp.messages
                    for part in received.mail.walk()
                    if part.get_content_maintype() == "text"
                ),
            )
    else:
        async with DiscordServer() as server:
            server.always = Answer(200, {})
            async with opened(HTTP[kind], base_of(server)) as channel:
                yield channel, lambda: "\n".join(str(r.payload) for r in server.requests)


def test_every_channel_is_tried_here() -> None:
    assert set(KINDS) == {"log", "email", *HTTP}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_message_arrives_and_no_secret_does(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with talking(kind) as (channel, arrived):
        assert isinstance(await channel.send([MESSAGE]), Sent)
        assert isinstance(await channel.send([LEAKY]), Sent)
        assert isinstance(await channel.send([replace(MESSAGE, recovered=True)]), Sent)
        text = arrived()
    assert "El disyuntor de trading" in text.replace("\\", "")
    assert "resuelta" in text.lower()
    assert str(MESSAGE.alert_id) in text
    assert SECRET not in text + caplog.text
    assert TOKEN not in caplog.text
    assert "[oculto]" in text.replace("\\", "").replace("［", "[").replace("］", "]")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_changes_no_messages_shape(kind: str) -> None:
    async with talking(kind) as (channel, arrived):
        assert isinstance(await channel.send([HOSTILE]), Sent)
        text = arrived()
    for harm in ("\x1b", "\x00", "\x07", "\u2028", "\u202e", "\nALERTA 99", "\nBcc:"):
        assert harm not in text
    if kind in ("discord", "apprise"):  # which know mentions
        assert "@everyone" not in text
    if kind == "apprise":
        assert not any(harm in text for harm in ("**negrita**", "[aquí](", "<@1234", "<script>"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_batch_is_taken(kind: str) -> None:
    async with talking(kind) as (channel, arrived):
        batch = [replace(MESSAGE, alert_id=1000 + n) for n in range(channel.max_batch)]
        assert isinstance(await channel.send(batch), Sent)
        text = arrived()
    assert all(str(message.alert_id) in text for message in batch)
