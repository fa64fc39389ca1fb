"""Writes the message of a Discord webhook: one embed for each alert, within all of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...domain.delivery import Message
from ...domain.escape import clip, discord_text, utf16_length
from ...domain.formats import Formats
from ...domain.model import Severity
from .common import event_time, facts, fitting, headline, paragraphs

# discord.com/developers/docs/resources/message, "Embed Limits": characters.
MAX_EMBEDS = 10
MAX_TITLE = 256
MAX_DESCRIPTION = 4096
MAX_TOTAL = 6000  # title, description, field names and values, footer; all embeds together

_MAX_VALUE = 200  # of a field; Discord takes 1024, but a phone shows three of them in a row
_TITLE_PART, _VALUE_PART = 5, 20  # a title may take a 5th, a field's value a 20th of its embed
_COLOURS = {
    Severity.CRITICA: 0xC0392B,
    Severity.ALTA: 0xE67E22,
    Severity.MEDIA: 0xF1C40F,
    Severity.BAJA: 0x3498DB,
}
_RECOVERED = 0x2ECC71

Embed = dict[str, Any]


def payload(batch: Sequence[Message], username: str, formats: Formats) -> dict[str, Any]:
    """Returns the JSON of a webhook's message that tells 1 to 10 alerts and mentions nobody.

    With many alerts in one message, titles and fields share its 6,000 characters evenly; what
    remains goes to the descriptions, short ones leaving their part to the long ones.
    """
    share = MAX_TOTAL // len(batch)
    embeds = [_frame(message, formats, share) for message in batch]
    wanted = [_description(message, MAX_DESCRIPTION) for message in batch]
    room = MAX_TOTAL - sum(map(_size, embeds))
    limits = _fair([utf16_length(text) for text in wanted], room)
    for embed, message, limit in zip(embeds, batch, limits, strict=True):
        embed["description"] = _description(message, limit)
    return {"username": username, "allowed_mentions": {"parse": []}, "embeds": embeds}


def _description(message: Message, limit: int) -> str:
    if limit < 2:
        return ""
    lines = [discord_text(text, limit) for text in paragraphs(message)]
    return "\n".join(fitting(lines, limit, utf16_length))


def _frame(message: Message, formats: Formats, share: int) -> Embed:
    """Returns an embed without its description; `share` is all that it may take."""
    value_limit = min(_MAX_VALUE, share // _VALUE_PART)
    fields = [
        ("Severidad", message.severity.label.capitalize()),
        *facts(message),
        ("Hora", formats.to_the_second(event_time(message, formats.tzinfo))),
        ("ID de alerta", message.reference),
    ]
    return {
        "title": discord_text(headline(message), min(MAX_TITLE, share // _TITLE_PART)),
        "color": _RECOVERED if message.recovered else _COLOURS[message.severity],
        "fields": [
            {"name": name, "value": discord_text(value, value_limit), "inline": True}
            for name, value in fields
        ],
        "timestamp": event_time(message).isoformat(),
        "footer": {"text": clip(f"CoreC · {message.named}", value_limit + len("CoreC"))},
    }


def _size(embed: Embed) -> int:
    texts = [embed["title"], embed["footer"]["text"]]
    texts += [part for field in embed["fields"] for part in (field["name"], field["value"])]
    return sum(map(utf16_length, texts))


def _fair(wanted: Sequence[int], room: int) -> list[int]:
    """Shares `room` among the wishes: each gets its wish or an equal part of what is left."""
    limits = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for position, index in enumerate(order):
        limits[index] = min(wanted[index], room // (len(order) - position))
        room -= limits[index]
    return limits
