"""Channel `discord`: up to ten alerts in one message of a webhook."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
from yarl import URL

from ...domain.delivery import Disabled, Message, Outcome, Rejected, Retry, Sent
from ...domain.formats import Formats
from .common import answer_line, network_reason
from .discord_message import MAX_EMBEDS, payload
from .discord_settings import DiscordSettings, secret_parts

__all__ = ["DiscordChannel", "DiscordSettings"]

_NAME = "Discord"
_MAX_BODY = 64 * 1024  # bytes of an answer that are read
_UNSAID_WAIT = 5.0  # seconds after a 429 that names no time
_MAX_WAIT = 86_400.0  # seconds; beyond it a message is too old anyway
_GONE = frozenset({401, 403, 404, 410})
_AGAIN = frozenset({408, 425})  # 4xx that are about the moment, not about the message
# discord.com/developers/docs/reference: a client without such a header may be blocked.
_HEADERS = {
    "User-Agent": "DiscordBot (https://corec.invalid/alert_manager, 4.0)",
    "Accept-Encoding": "identity",
}


class DiscordChannel:
    """Posts alerts to one webhook and obeys its rate limits, and those of all webhooks together.

    Raises:
        ValueError: the settings are of a disabled channel, without a webhook_url.
    """

    max_batch = MAX_EMBEDS
    # Until when (monotonic seconds) a server wants nothing from this machine: a 429 that says
    # `global` to one webhook is meant for all of them.
    _closed_hosts: ClassVar[dict[str, float]] = {}

    def __init__(self, settings: DiscordSettings, formats: Formats | None = None) -> None:
        if settings.webhook_url is None:
            raise ValueError("el canal discord necesita webhook_url")
        address = settings.webhook_url.get_secret_value()
        self._url = URL(address).update_query(wait="true")
        self._secrets = secret_parts(address)
        self._username = settings.username
        self._timeout = settings.timeout
        self._formats = formats or Formats()
        self._session: aiohttp.ClientSession | None = None
        self._not_before = 0.0  # monotonic seconds

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Posts one message with an embed for each alert; not before Discord allows it again."""
        closed_until = self._closed_hosts.get(self._url.authority, 0.0)
        wait = max(self._not_before, closed_until) - time.monotonic()
        if wait > 0:
            return _throttled(wait)
        try:
            async with self._open().post(
                self._url,
                json=payload(batch, self._username, self._formats),
                allow_redirects=False,
            ) as response:
                return await self._judge(response)
        except TimeoutError:
            return Retry(f"{_NAME} no responde en {self._timeout:g} s")
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError):
            return Retry(f"{_NAME} cortó la conexión")
        except aiohttp.ClientResponseError:
            return Retry(f"{_NAME} respondió algo que no es HTTP")
        except (aiohttp.ClientError, OSError) as error:
            return Retry(network_reason(error, _NAME))

    async def close(self) -> None:
        """Closes the connections to Discord."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                trust_env=False,
            )
        return self._session

    async def _judge(self, response: aiohttp.ClientResponse) -> Outcome:
        status = response.status
        self._remember_limit(response.headers)
        if 200 <= status < 300:
            return Sent(_message_id(await self._body_of_accepted(response)))
        if 300 <= status < 400:
            return Disabled(
                f"{_NAME} respondió {status}, una redirección; no se sigue, porque un webhook no "
                "redirige y se entregaría la clave a otro: revisa webhook_url"
            )
        body = await _read(response)
        if status == 429:
            wait = _wait_of(body, response.headers)
            self._not_before = time.monotonic() + wait
            if _is_global(body, response.headers):
                self._closed_hosts[self._url.authority] = self._not_before
            return _throttled(wait)
        return self._refused(status, body, _seconds(response.headers.get("Retry-After")))

    def _refused(self, status: int, body: bytes, after: float | None) -> Outcome:
        said = f"{_NAME} respondió {status}: {self._sentence(body)}".removesuffix(": ")
        if status in _GONE:
            return Disabled(f"{said} (el webhook no existe o no se permite usarlo)")
        if status >= 500 or status in _AGAIN:
            return Retry(said, after=after)
        return Rejected(said)

    def _sentence(self, body: bytes) -> str:
        content = _json(body)
        told = content.get("message") if isinstance(content, Mapping) else None
        text = told if isinstance(told, str) else body.decode("utf-8", "replace")
        if text.lstrip().startswith("<"):
            return ""  # a page of the servers in front of Discord
        return answer_line(text, self._secrets)

    def _remember_limit(self, headers: Mapping[str, str]) -> None:
        """Remembers that the request just answered was the last one of its window.

        A refused one counts too.
        """
        wait = _seconds(headers.get("X-RateLimit-Reset-After"))
        if headers.get("X-RateLimit-Remaining") == "0" and wait is not None:
            self._not_before = time.monotonic() + wait

    async def _body_of_accepted(self, response: aiohttp.ClientResponse) -> bytes:
        """Reads the answer; once the status says 2xx, a lost body does not unsend the message."""
        try:
            return await _read(response)
        except (aiohttp.ClientError, OSError):
            return b""


def _throttled(wait: float) -> Retry:
    return Retry(
        f"{_NAME} pide esperar {wait:.1f} s (límite de envíos)", after=wait, throttled=True
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while len(body) < _MAX_BODY:
        part = await response.content.read(_MAX_BODY - len(body))
        if not part:
            return bytes(body)
        body += part
    response.close()  # the rest is not read, so the connection cannot serve again
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message_id(body: bytes) -> str | None:
    content = _json(body)
    found = content.get("id") if isinstance(content, Mapping) else None
    return answer_line(str(found)) if isinstance(found, str | int) else None


def _wait_of(body: bytes, headers: Mapping[str, str]) -> float:
    """Returns the seconds that a 429 asks for: the body's float first, it is the exact one."""
    content = _json(body)
    in_body = content.get("retry_after") if isinstance(content, Mapping) else None
    for said in (in_body, headers.get("Retry-After"), headers.get("X-RateLimit-Reset-After")):
        wait = _seconds(said)
        if wait is not None:
            return wait
    return _UNSAID_WAIT


def _is_global(body: bytes, headers: Mapping[str, str]) -> bool:
    content = _json(body)
    said = content.get("global") if isinstance(content, Mapping) else None
    return said is True or headers.get("X-RateLimit-Global", "").lower() == "true"


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, _MAX_WAIT) if math.isfinite(seconds) and seconds >= 0 else None
