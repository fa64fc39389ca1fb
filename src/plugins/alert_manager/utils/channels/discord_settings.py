"""What `notification_config.discord` may say."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from ...domain.escape import single_line
from .addresses import checked_address, is_here
from .base import ChannelSettings, Waiting, needed_address

_HOSTS = frozenset({"discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"})
_PATH = re.compile(r"/api(?:/v\d{1,3})?/webhooks/\d{1,25}/[A-Za-z0-9_-]{1,200}/?")
_QUERY = re.compile(r"(?:thread_id=\d{1,25})?")
_FORM = "https://discord.com/api/webhooks/<id>/<clave>"
_RESERVED_NAMES = ("discord", "clyde")  # Discord refuses a username that contains one


class DiscordSettings(ChannelSettings):
    """`notification_config.discord`.

    `webhook_url` is https at one of Discord's own hosts, with `?thread_id=…` for a thread; any http
    or https address is taken for this machine alone.
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    names: ClassVar[int] = 25
    digest_above: Waiting = 50

    webhook_url: SecretStr | None = Field(default=None, validate_default=True)
    username: str = Field(default="CoreC", min_length=1, max_length=80)

    @property
    def address(self) -> SecretStr | None:
        """The webhook's URL."""
        return self.webhook_url

    @field_validator("webhook_url")
    @classmethod
    def _is_webhook(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return needed_address(value, info, _check_address)

    @field_validator("username")
    @classmethod
    def _is_allowed(cls, value: str) -> str:
        name = single_line(value)
        if not name or any(word in name.lower() for word in _RESERVED_NAMES):
            raise ValueError(
                f"se encontró {value!r}; Discord no admite un nombre vacío ni con "
                f"{' o '.join(_RESERVED_NAMES)}"
            )
        return name


def _check_address(address: str) -> None:
    """Checks a webhook's address; no sentence repeats it, because it is a key.

    Raises:
        ValueError: it is neither Discord's nor this machine's.
    """
    parts = checked_address(address, _FORM)
    if is_here(parts):
        return
    if parts.hostname not in _HOSTS or parts.port not in (None, 443):
        raise ValueError(f"no es un servidor de Discord; se permite: {', '.join(sorted(_HOSTS))}")
    if not _PATH.fullmatch(parts.path) or not _QUERY.fullmatch(parts.query):
        raise ValueError(f"no tiene la forma de un webhook; se espera {_FORM}")
