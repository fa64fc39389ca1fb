"""The channels that exist, by type: the one place to add a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...domain.formats import Formats
from .apprise_service import AppriseChannel, AppriseSettings
from .base import Channel, ChannelSettings
from .discord import DiscordChannel, DiscordSettings
from .email import EmailChannel, EmailSettings
from .log import LogChannel, LogSettings
from .webhook import WebhookChannel, WebhookSettings


@dataclass(frozen=True, slots=True)
class _Kind:
    settings: type[ChannelSettings]
    build: Callable[[Any, Formats], Channel]


KINDS: Mapping[str, _Kind] = {
    "log": _Kind(LogSettings, lambda settings, formats: LogChannel(settings)),
    "email": _Kind(EmailSettings, EmailChannel),
    "discord": _Kind(DiscordSettings, DiscordChannel),
    "webhook": _Kind(WebhookSettings, WebhookChannel),
    "apprise": _Kind(AppriseSettings, AppriseChannel),
}

STREAM_REPORT = "alert_data_stream"
REPORT_CHANNELS = ("alert_data", STREAM_REPORT)
"""The plugin's own reports of every alert (`eventos`, and a Redis stream): always in use."""


def kind_of(name: str, raw: Mapping[str, Any]) -> str:
    """Returns the type of a channel: its `type`, or its own name.

    Raises:
        ValueError: there is no such type.
    """
    kind = str(raw.get("type", name))
    if kind not in KINDS:
        raise ValueError(f"tipo de canal desconocido {kind!r}; se permite: {', '.join(KINDS)}")
    return kind


def settings_model(name: str, raw: Mapping[str, Any]) -> type[ChannelSettings]:
    """Returns the settings model of a channel.

    Raises:
        ValueError: there is no such type.
    """
    return KINDS[kind_of(name, raw)].settings


def build(
    name: str, raw: Mapping[str, Any], settings: ChannelSettings, formats: Formats
) -> Channel:
    """Makes a channel from its checked settings; `formats` says how times are shown."""
    return KINDS[kind_of(name, raw)].build(settings, formats)
