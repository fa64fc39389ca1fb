"""Channel `discord`: up to ten alerts in one message of a webhook."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from yarl import URL

from ...domain.delivery import Message, Outcome, Retry, Sent
from ...domain.formats import Formats
from .addresses import secret_parts
from .common import answer_line
from .discord_message import MAX_EMBEDS, payload
from .discord_settings import DiscordSettings
from .http import Answer, HttpClient, seconds

__all__ = ["DiscordChannel", "DiscordSettings"]

_ADVICE = "el webhook no existe o no se permite usarlo: revisa webhook_url"
# discord.com/developers/docs/reference: a client without such a header may be blocked.
_HEADERS = {"User-Agent": "DiscordBot (https://corec.invalid/alert_manager, 4.0)"}


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
        url = URL(address).update_query(wait="true")
        self._http = HttpClient("Discord", url, settings.timeout, _HEADERS)
        self._secrets = secret_parts(address)
        self._username = settings.username
        self._formats = formats or Formats()
        self._not_before = 0.0  # monotonic seconds

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Posts one message with an embed for each alert; not before Discord allows it again."""
        closed_until = self._closed_hosts.get(self._http.url.authority, 0.0)
        wait = max(self._not_before, closed_until) - time.monotonic()
        if wait > 0:
            return self._http.throttled(wait)
        content = payload(batch, self._username, self._formats)
        answer = await self._http.post(msgspec.json.encode(content))
        return answer if isinstance(answer, Retry) else self._judge(answer)

    async def probe(self) -> Outcome:
        """Asks Discord whether there is such a webhook, and tells nobody anything."""
        answer = await self._http.get()
        return answer if isinstance(answer, Retry) else self._judge(answer)

    async def close(self) -> None:
        """Closes the connections to Discord."""
        await self._http.close()

    def _judge(self, answer: Answer) -> Outcome:
        self._remember_limit(answer.headers)
        if answer.accepted:
            return Sent(_message_id(answer))
        outcome = self._http.refused(answer, self._sentence(answer), _ADVICE)
        if isinstance(outcome, Retry) and outcome.throttled and outcome.after is not None:
            self._not_before = time.monotonic() + outcome.after
            if _is_global(answer):
                self._closed_hosts[self._http.url.authority] = self._not_before
        return outcome

    def _sentence(self, answer: Answer) -> str:
        content = answer.content
        told = content.get("message") if isinstance(content, Mapping) else None
        text = told if isinstance(told, str) else answer.body.decode("utf-8", "replace")
        if text.lstrip().startswith("<"):
            return ""  # a page of the servers in front of Discord
        return answer_line(text, self._secrets)

    def _remember_limit(self, headers: Mapping[str, str]) -> None:
        """Remembers that the request just answered was the last one of its window.

        A refused one counts too.
        """
        wait = seconds(headers.get("X-RateLimit-Reset-After"))
        if headers.get("X-RateLimit-Remaining") == "0" and wait is not None:
            self._not_before = time.monotonic() + wait


def _message_id(answer: Answer) -> str | None:
    content = answer.content
    found = content.get("id") if isinstance(content, Mapping) else None
    return answer_line(str(found)) if isinstance(found, str | int) else None


def _is_global(answer: Answer) -> bool:
    content = answer.content
    said = content.get("global") if isinstance(content, Mapping) else None
    return said is True or answer.headers.get("X-RateLimit-Global", "").lower() == "true"
