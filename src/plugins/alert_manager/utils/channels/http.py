"""One request to one address: no redirect is followed, and no answer is read without end."""

from __future__ import annotations

import asyncio
import enum
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from yarl import URL

from ...domain.delivery import Disabled, Outcome, Rejected, Retry
from .common import network_reason

_MAX_BODY = 64 * 1024  # bytes of an answer that are read
_UNSAID_WAIT = 5.0  # seconds after a 429 that names no time
_MAX_WAIT = 86_400.0  # seconds; beyond it a message is too old anyway
_GONE = frozenset({401, 403, 404, 410})
_AGAIN = frozenset({408, 425})  # 4xx that are about the moment, not about the message


class Meaning(enum.Enum):
    """What a status says about a message."""

    ACCEPTED = "accepted"
    LIMITED = "limited"  # too many requests: later
    AGAIN = "again"
    REJECTED = "rejected"  # never, not this one
    GONE = "gone"  # none at all, not here

    @classmethod
    def of(cls, status: int) -> Meaning:
        """Returns the meaning of an HTTP status."""
        if 200 <= status < 300:
            return cls.ACCEPTED
        if status == 429:
            return cls.LIMITED
        if status < 400 or status in _GONE:  # what redirects a webhook is another place
            return cls.GONE
        return cls.AGAIN if status >= 500 or status in _AGAIN else cls.REJECTED


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; of a long body the beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def accepted(self) -> bool:
        """True where the server has the message."""
        return Meaning.of(self.status) is Meaning.ACCEPTED

    @property
    def content(self) -> Any:
        """The body's JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def wait(self) -> float | None:
        """Seconds that the server asks to wait: the body's float first, it is the exact one."""
        content = self.content
        in_body = content.get("retry_after") if isinstance(content, Mapping) else None
        headers = self.headers
        for said in (in_body, headers.get("Retry-After"), headers.get("X-RateLimit-Reset-After")):
            if (wait := seconds(said, headers.get("Date"))) is not None:
                return wait
        return None


class HttpClient:
    """Posts to one address.

    Args:
        name: the server's name, in sentences for people.
        url: may hold secrets, and is never shown.
        timeout: seconds for all of one request.
        headers: of each request.
    """

    def __init__(
        self, name: str, url: URL, timeout: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.url = url
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer | Retry:
        """Posts JSON; a server that cannot be talked to is one to try again."""
        return await self._ask(
            "POST", body, {"Content-Type": "application/json", **(headers or {})}
        )

    async def get(self) -> Answer | Retry:
        """Asks what is at the address; a server that cannot be talked to is one to try again."""
        return await self._ask("GET", None, {})

    async def reach(self) -> Retry | None:
        """Connects, with TLS where the address says so; returns what hinders it."""
        encrypted = self.url.scheme == "https"
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(
                    self.url.host, self.url.port, ssl=encrypted or None
                )
            writer.close()
        except TimeoutError:
            return Retry(f"{self.name} no responde en {self._timeout:g} s")
        except OSError as error:
            return Retry(network_reason(error, self.name))
        return None

    async def _ask(
        self, method: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer | Retry:
        try:
            async with self._open().request(
                method, self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, response.headers, await _read(response))
        except TimeoutError:
            return Retry(f"{self.name} no responde en {self._timeout:g} s")
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError):
            return Retry(f"{self.name} cortó la conexión")
        except aiohttp.ClientResponseError:
            return Retry(f"{self.name} respondió algo que no es HTTP")
        except (aiohttp.ClientError, OSError) as error:
            return Retry(network_reason(error, self.name))

    def refused(self, answer: Answer, said: str, advice: str) -> Outcome:
        """Returns what an answer means that is no acceptance.

        Args:
            answer: of any status from 300 on.
            said: the server's own sentence, without secrets; empty where there is none.
            advice: what to look at where the address is wrong.
        """
        told = f"{self.name} respondió {answer.status}: {said}".removesuffix(": ")
        if 300 <= answer.status < 400:
            told += ", una redirección; no se sigue, porque se entregaría a otro"
        limited = self.throttled(_UNSAID_WAIT if answer.wait is None else answer.wait)
        after = seconds(answer.headers.get("Retry-After"), answer.headers.get("Date"))
        return verdict(answer.status, told, advice, limited, after)

    def throttled(self, wait: float) -> Retry:
        """Returns what it means to be asked to wait (seconds)."""
        reason = f"{self.name} pide esperar {wait:.1f} s (límite de envíos)"
        return Retry(reason, after=wait, throttled=True)

    async def close(self) -> None:
        """Closes the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", **self._headers},
                trust_env=False,
            )
        return self._session


def verdict(
    status: int, told: str, advice: str, limited: Retry, after: float | None = None
) -> Outcome:
    """Returns the outcome of a message that was answered with a status that is no acceptance.

    Args:
        status: from 300 on.
        told: what the server said, in a sentence without secrets.
        advice: what to look at where the address is wrong.
        limited: the outcome where the server has had too many requests.
        after: seconds that a server asks for which has a fault.
    """
    match Meaning.of(status):
        case Meaning.LIMITED:
            return limited
        case Meaning.GONE:
            return Disabled(f"{told} ({advice})")
        case Meaning.AGAIN:
            return Retry(told, after=after)
    return Rejected(told)


def seconds(value: Any, now: str | None = None) -> float | None:
    """Returns a wait as servers write it: a number, or the date until when (RFC 9110, 10.2.3).

    `now` is the server's own date, where it says it: our clock may be wrong.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        wait = float(value)
    except (ValueError, OverflowError):
        return _until(str(value), now)
    return min(wait, _MAX_WAIT) if math.isfinite(wait) and wait >= 0 else None


def _until(date: str, now: str | None) -> float | None:
    moment = _epoch(date)
    if moment is None:
        return None
    begin = None if now is None else _epoch(now)
    return min(max(moment - (time.time() if begin is None else begin), 0.0), _MAX_WAIT)


def _epoch(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Reads the answer; once the status says 2xx, a lost body does not unsend the message."""
    body = bytearray()
    try:
        while len(body) < _MAX_BODY:
            part = await response.content.read(_MAX_BODY - len(body))
            if not part:
                return bytes(body)
            body += part
    except (aiohttp.ClientError, OSError):
        if not 200 <= response.status < 300:
            raise
        return b""
    response.close()  # the rest is not read, so the connection cannot serve again
    return bytes(body)
