"""Channel `webhook`: alerts as JSON, signed as standardwebhooks.com has it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from yarl import URL

from ...domain.delivery import Message, Outcome, Retry, Sent
from ...domain.formats import Formats
from ...domain.model import Payload
from ...domain.redact import redact
from .addresses import checked_address, secret_parts
from .base import ChannelSettings, needed_address
from .common import answer_line, as_json, paragraphs, shown
from .http import HttpClient
from .webhook_signature import forms, key, signature

_FORM = "https://servidor/ruta"
_MAX_DATA = 32_768  # bytes of an event; a hundred of them are in one request


class WebhookSettings(ChannelSettings):
    """`notification_config.<name>` with `type: webhook`; `secret` signs what is sent."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr | None = Field(default=None, validate_default=True)
    secret: SecretStr | None = None

    @property
    def address(self) -> SecretStr | None:
        """The URL."""
        return self.url

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return needed_address(value, info, lambda address: checked_address(address, _FORM))

    @field_validator("secret")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        key(value.get_secret_value())
        return value


class WebhookChannel:
    """Posts up to 100 alerts in one request.

    Raises:
        ValueError: the settings are of a disabled channel, without a url.
    """

    max_batch = 100

    def __init__(self, settings: WebhookSettings, formats: Formats | None = None) -> None:
        if settings.url is None:
            raise ValueError("el canal webhook necesita url")
        address = settings.url.get_secret_value()
        parts = checked_address(address, _FORM)
        self._http = HttpClient(parts.hostname or "", URL(address), settings.timeout)
        secret = "" if settings.secret is None else settings.secret.get_secret_value()
        self._secrets = (*secret_parts(address), *forms(secret))
        self._key = key(secret) if secret else None

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Posts `{"alerts": […]}`."""
        # In a thread: a batch of large events takes a while to write.
        body = await asyncio.to_thread(_body, batch)
        answer = await self._http.post(body, self._headers(batch, body))
        if isinstance(answer, Retry):
            return answer
        said = answer_line(answer.body.decode("utf-8", "replace"), self._secrets)
        if answer.accepted:
            return Sent(answer=said or None)
        return self._http.refused(answer, said, "revisa url en notification_config")

    async def probe(self) -> Outcome:
        """Connects to the server and asks nothing: any request might be an alert to it."""
        return await self._http.reach() or Sent()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    def _headers(self, batch: Sequence[Message], body: bytes) -> dict[str, str]:
        # The same messages have the same id: who gets them twice can tell.
        which = "-".join(message.identity for message in batch)
        identity = f"msg_{hashlib.sha256(which.encode()).hexdigest()[:32]}"
        now = str(int(time.time()))
        headers = {"webhook-id": identity, "webhook-timestamp": now}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, identity, now, body)
        return headers


def _body(batch: Sequence[Message]) -> bytes:
    return msgspec.json.encode({"alerts": [_alert(message) for message in batch]})


def _alert(message: Message) -> Payload:
    said: dict[str, Any] = {
        "number": message.number,
        "title": shown(message.title),
        "message": " | ".join(paragraphs(message)),
    }
    size = len(msgspec.json.encode(message.event_data))
    if size > _MAX_DATA:
        how = f"./scripts/alerts.sh show {message.reference} --json"
        said["event_data"] = {"recortado": f"{size} bytes; enteros: {how}"}
    return redact({**as_json(message), **said})
