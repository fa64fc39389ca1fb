"""A real HTTP server on 127.0.0.1 that behaves like Discord's webhook API, and can be told to fail.

async with DiscordServer() as discord:
    ...  # post to discord.webhook_url
    discord.script.append(limited(0.5))  # the next request is told to wait
    assert discord.messages[0]["embeds"][0]["title"] == "..."
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from tests.support.discord_limits import faults_of

HOST = "127.0.0.1"
WEBHOOK_ID = "1188000000000000001"
TOKEN = "tOkEn-of_the_Local-Discord-webhook_0123456789"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does instead of its own answer.

    Attributes:
        status: the HTTP status; 0 cuts the connection without one.
        body: JSON when it is no text.
        delay: seconds before the answer.
        truncated: True cuts the connection in the middle of the body.
        endless: True repeats the body until the client leaves.
    """

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    truncated: bool = False
    endless: bool = False


CUT = Answer(0)
GONE = Answer(404, {"message": "Unknown Webhook", "code": 10015})
UNAUTHORIZED = Answer(401, {"message": "Invalid Webhook Token", "code": 50027})
BROKEN = Answer(502, "<html><head><title>502 Bad Gateway</title></head></html>")


def limited(
    retry_after: float,
    *,
    is_global: bool = False,
    where: Literal["body", "header", "nowhere"] = "body",
) -> Answer:
    """A 429 as Discord sends it: seconds as a float in the body, rounded up in the header."""
    body: Any = {"message": "You are being rate limited.", "global": is_global}
    headers = {"X-RateLimit-Scope": "global" if is_global else "shared"}
    if where == "body":
        body["retry_after"] = retry_after
        headers["Retry-After"] = str(int(retry_after) + 1)
    elif where == "header":
        body = ""  # Cloudflare, in front of Discord, answers without JSON
        headers["Retry-After"] = str(retry_after)
    return Answer(429, body, headers)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came.

    Attributes:
        time: monotonic seconds.
        clock: epoch seconds, of the clock that PostgreSQL's commits have.
        early: True inside a wait that the server had asked for.
        status: what it was answered; 0 for a cut connection.
    """

    time: float
    clock: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    payload: Any
    early: bool
    status: int


@dataclass
class DiscordServer:
    """The server, its programme and its records.

    Attributes:
        script: answers for the next requests, one each.
        always: the answer for every request that the script leaves; None behaves like Discord.
        refuses: a text; a message that holds it earns a 400.
        limit: requests in `window` seconds before a 429; None limits nothing.
        may_answer: while it is not set, messages that it accepts wait for their answer.
        messages: the messages that it accepted, with `id`.
        requests: all requests.
    """

    script: deque[Answer] = field(default_factory=deque)
    always: Answer | None = None
    refuses: str | None = None
    limit: int | None = None
    window: float = 2.0
    tls: ssl.SSLContext | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    host: str = HOST
    port: int = 0

    def __post_init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._blocked_until = 0.0
        self._recent: deque[float] = deque()
        self._ids = iter(range(1_300_000_000_000_000_001, 2_000_000_000_000_000_000))

    @property
    def webhook_url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host}:{self.port}/api/webhooks/{WEBHOOK_ID}/{TOKEN}"

    @property
    def embeds(self) -> list[dict[str, Any]]:
        """All embeds of all accepted messages, in order."""
        return [embed for message in self.messages for embed in message["embeds"]]

    @property
    def early(self) -> int:
        """Number of requests inside a wait that the server had asked for."""
        return sum(request.early for request in self.requests)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=25 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self.may_answer.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        now, clock = time.monotonic(), time.time()
        raw = await request.read()
        payload = _parsed(raw)
        early = now < self._blocked_until
        answer = self._answer(request, payload, now)
        self.requests.append(
            Request(
                time=now,
                clock=clock,
                path=request.path,
                query=dict(request.query),
                headers=dict(request.headers),
                payload=payload,
                early=early,
                status=answer.status,
            )
        )
        self._note_wait(answer, now)
        if answer.delay:
            await self._pause(answer.delay)
        if answer.status in (200, 204):
            await self.may_answer.wait()
        return await _give(request, answer)

    def _answer(self, request: web.Request, payload: Any, now: float) -> Answer:
        if self.script:
            return self.script.popleft()
        if self.always is not None:
            return self.always
        limits = self._count(now)
        if isinstance(limits, Answer):
            return limits
        if request.method != "POST":
            return Answer(405, {"message": "405: Method Not Allowed", "code": 0})
        if request.path.rstrip("/").split("/")[-2:] != [WEBHOOK_ID, TOKEN]:
            return GONE
        faults = faults_of(payload)
        if self.refuses is not None and self.refuses in json.dumps(payload):
            faults = {"message": "Invalid Form Body", "code": 50035}
        if faults:
            return Answer(400, faults, limits)
        message = {"id": str(next(self._ids)), "channel_id": "1", "type": 0, **payload}
        self.messages.append(message)
        if request.query.get("wait") not in ("true", "1"):
            return Answer(204, headers=limits)
        return Answer(200, message, limits)

    def _count(self, now: float) -> Answer | dict[str, str]:
        """Returns the limit's headers for one more request, or the 429 that it earns."""
        if self.limit is None:
            return {}
        while self._recent and self._recent[0] <= now - self.window:
            self._recent.popleft()
        if len(self._recent) >= self.limit:
            return limited(self._recent[0] + self.window - now)
        self._recent.append(now)
        left = self.limit - len(self._recent)
        reset = self._recent[0] + self.window - now
        if left == 0:
            self._blocked_until = now + reset
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset-After": f"{reset:.3f}",
            "X-RateLimit-Bucket": "e3b0c44298fc1c149afbf4c8996fb924",
        }

    def _note_wait(self, answer: Answer, now: float) -> None:
        wait = answer.body.get("retry_after") if isinstance(answer.body, dict) else None
        wait = answer.headers.get("Retry-After") if wait is None else wait
        if answer.status == 429 and wait is not None:
            self._blocked_until = max(self._blocked_until, now + float(wait))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


async def _give(request: web.Request, answer: Answer) -> web.StreamResponse:
    transport = request.transport
    if answer.status == 0:
        if transport is not None:
            _reset(transport)
        return web.Response()
    is_text = isinstance(answer.body, str)
    body = (answer.body if is_text else json.dumps(answer.body)).encode()
    content_type = "text/html" if is_text else "application/json"
    headers = {"Content-Type": content_type, **answer.headers}
    if answer.endless:
        return await _give_for_ever(request, answer.status, body)
    if not answer.truncated:
        return web.Response(status=answer.status, body=body or None, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(body) + 1000
    await response.prepare(request)
    await response.write(body)
    if transport is not None:
        transport.close()
    return response


async def _give_for_ever(request: web.Request, status: int, part: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    await response.prepare(request)
    while True:  # ends when the client leaves: the write raises
        await response.write(part)
        await asyncio.sleep(0)


def _reset(transport: asyncio.Transport) -> None:
    """Ends a connection with a TCP reset, as a machine does that goes down."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    transport.abort()
