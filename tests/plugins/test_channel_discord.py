from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time

import pytest
import trustme

from src.plugins.alert_manager.domain.delivery import (
    Disabled,
    Outcome,
    Rejected,
    Retry,
    Sent,
)
from src.plugins.alert_manager.utils.channels.discord import DiscordChannel, DiscordSettings
from tests.plugins.channel_messages import (
    MESSAGE,
    refusing_port,
)
from tests.support.discord import (
    BROKEN,
    CUT,
    GONE,
    TOKEN,
    UNAUTHORIZED,
    Answer,
    DiscordServer,
    limited,
)

REAL_URL = f"https://discord.com/api/webhooks/1188000000000000001/{TOKEN}"


async def _send_once(url: str, timeout: float = 5.0) -> Outcome:  # noqa: ASYNC109
    channel = DiscordChannel(DiscordSettings(webhook_url=url, timeout=timeout))
    try:
        return await channel.send([MESSAGE])
    finally:
        await channel.close()


ADVICE = "(el webhook no existe o no se permite usarlo: revisa webhook_url)"
OUTCOMES = [
    (Answer(200, {"id": "77"}), Sent("77")),
    (Answer(204), Sent()),
    (Answer(200, "no json"), Sent()),
    (Answer(200, {"id": "77", "content": "x" * 100}, truncated=True), Sent()),
    (
        Answer(400, {"message": "Invalid Form Body", "code": 50035}),
        Rejected("Discord respondió 400: Invalid Form Body"),
    ),
    (
        UNAUTHORIZED,
        Disabled(f"Discord respondió 401: Invalid Webhook Token {ADVICE}"),
    ),
    (
        Answer(403, ""),
        Disabled(f"Discord respondió 403 {ADVICE}"),
    ),
    (
        GONE,
        Disabled(f"Discord respondió 404: Unknown Webhook {ADVICE}"),
    ),
    (Answer(405, "línea uno\nlínea dos"), Rejected("Discord respondió 405: línea uno")),
    (Answer(408), Retry("Discord respondió 408")),
    (
        Answer(410),
        Disabled(f"Discord respondió 410 {ADVICE}"),
    ),
    (Answer(413, "\x1b[31mgrande"), Rejected("Discord respondió 413: grande")),
    (Answer(422), Rejected("Discord respondió 422")),
    (Answer(500), Retry("Discord respondió 500")),
    (BROKEN, Retry("Discord respondió 502")),
    (Answer(503, "", {"Retry-After": "7"}), Retry("Discord respondió 503", after=7.0)),
    (Answer(504), Retry("Discord respondió 504")),
    (CUT, Retry("Discord cortó la conexión")),
    (Answer(500, "roto", truncated=True), Retry("Discord cortó la conexión")),
]


@pytest.mark.parametrize(("answer", "expected"), OUTCOMES)
async def test_outcomes(
    server: DiscordServer, channel: DiscordChannel, answer: Answer, expected: Outcome
) -> None:
    server.script.append(answer)
    assert await channel.send([MESSAGE]) == expected


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    server: DiscordServer, channel: DiscordChannel, status: int
) -> None:
    server.script.append(Answer(status, "", {"Location": server.webhook_url}))
    outcome = await channel.send([MESSAGE])
    assert isinstance(outcome, Disabled)  # the address is wrong, not the message
    assert "redirección" in outcome.reason
    assert len(server.requests) == 1


LIMITS = [
    (limited(0.25), 0.25),
    (limited(0.3, is_global=True), 0.3),
    (limited(2, where="header"), 2.0),
    (Answer(429, "", {"X-RateLimit-Reset-After": "1.5"}), 1.5),
    (limited(1, where="nowhere"), 5.0),
    (Answer(429, {"retry_after": "0.5"}), 0.5),
    (Answer(429, {"retry_after": float("nan")}), 5.0),
    (Answer(429, {"retry_after": -3}), 5.0),
    (Answer(429, {"retry_after": 1e300}), 86_400.0),
    (Answer(429, {"retry_after": True}, {"Retry-After": "mañana".encode().decode("latin-1")}), 5.0),
    (Answer(429, "[1]"), 5.0),
]


@pytest.mark.parametrize(("answer", "wait"), LIMITS)
async def test_429_says_how_long(
    server: DiscordServer, channel: DiscordChannel, answer: Answer, wait: float
) -> None:
    server.script.append(answer)
    outcome = await channel.send([MESSAGE])
    assert isinstance(outcome, Retry)
    assert outcome.throttled
    assert outcome.after == wait


async def test_no_request_inside_a_wait(server: DiscordServer, channel: DiscordChannel) -> None:
    server.script.append(limited(0.3))
    assert isinstance(await channel.send([MESSAGE]), Retry)
    again = await channel.send([MESSAGE])
    assert isinstance(again, Retry)
    assert again.throttled
    assert again.after is not None
    assert 0 < again.after <= 0.3
    assert len(server.requests) == 1
    await asyncio.sleep(again.after)
    assert isinstance(await channel.send([MESSAGE]), Sent)
    assert server.early == 0


async def test_the_last_request_of_a_window_is_remembered(server: DiscordServer) -> None:
    server.limit, server.window = 2, 0.3
    channel = DiscordChannel(DiscordSettings(webhook_url=server.webhook_url))
    sent = waits = 0
    while sent < 6:
        outcome = await channel.send([MESSAGE])
        if isinstance(outcome, Sent):
            sent += 1
        else:
            assert isinstance(outcome, Retry)
            assert outcome.after is not None
            waits += 1
            await asyncio.sleep(outcome.after)
    await channel.close()
    assert waits >= 2
    assert {request.status for request in server.requests} == {200}  # never a 429
    assert server.early == 0


async def test_a_refused_request_counts_towards_the_limit_too(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    last = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.4"}
    server.script.append(Answer(400, {"message": "Invalid Form Body"}, last))
    assert isinstance(await channel.send([MESSAGE]), Rejected)
    held = await channel.send([MESSAGE])
    assert isinstance(held, Retry)
    assert held.throttled
    assert len(server.requests) == 1


async def test_a_global_limit_holds_every_webhook(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    server.script.append(limited(0.5, is_global=True))
    assert isinstance(await channel.send([MESSAGE]), Retry)
    other = await _send_once(server.webhook_url)
    assert isinstance(other, Retry)
    assert other.throttled
    assert len(server.requests) == 1
    async with DiscordServer() as elsewhere:
        assert isinstance(await _send_once(elsewhere.webhook_url), Sent)


async def test_a_limit_of_one_webhook_holds_no_other(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    server.script.append(limited(0.5))
    assert isinstance(await channel.send([MESSAGE]), Retry)
    assert isinstance(await _send_once(server.webhook_url), Sent)


async def test_slow_answer(server: DiscordServer) -> None:
    server.always = Answer(200, {"id": "1"}, delay=30)
    started = time.monotonic()
    assert await _send_once(server.webhook_url, 0.2) == Retry("Discord no responde en 0.2 s")
    assert time.monotonic() - started < 2


async def test_an_endless_answer_is_read_up_to_a_bound(
    server: DiscordServer, channel: DiscordChannel
) -> None:
    server.script.append(Answer(400, "x" * 10_000, endless=True))
    outcome = await channel.send([MESSAGE])
    assert isinstance(outcome, Rejected)
    assert len(outcome.reason) < 300
    assert isinstance(await channel.send([MESSAGE]), Sent)


async def test_nobody_listens() -> None:
    with refusing_port() as port:
        outcome = await _send_once(f"http://127.0.0.1:{port}/hook")
    assert outcome == Retry("Discord rechaza la conexión")


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def unknown(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(loop, "getaddrinfo", unknown)
    outcome = await _send_once(REAL_URL)
    assert outcome == Retry("no se encuentra Discord: su nombre no se resuelve")


async def test_a_certificate_that_nobody_vouches_for() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with DiscordServer(tls=context) as server:
        outcome = await _send_once(server.webhook_url)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("el certificado TLS de Discord no es válido: ")
    assert server.requests == []


async def test_tls_where_there_is_none(server: DiscordServer) -> None:
    outcome = await _send_once(server.webhook_url.replace("http://", "https://"))
    assert outcome == Retry("falló la conexión TLS con Discord")


async def test_no_secret_in_any_reason_or_log(
    server: DiscordServer, channel: DiscordChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"bad {server.webhook_url} token {TOKEN}"
    answers = [Answer(status, echo) for status in (302, 400, 401, 403, 404, 405, 500)]
    server.script.extend([*answers, Answer(400, {"message": echo}), CUT, limited(0.0)])
    for _ in range(len(server.script)):
        outcome = await channel.send([MESSAGE])
        assert TOKEN not in repr(outcome)
    assert TOKEN not in "".join(
        record.getMessage() for record in caplog.records if "aiohttp.server" not in record.name
    )
    assert TOKEN not in repr(DiscordSettings(webhook_url=server.webhook_url))


async def test_a_proxy_of_the_environment_is_not_used(
    server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(await _send_once(server.webhook_url), Sent)
