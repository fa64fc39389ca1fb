"""What Discord refuses in the message of a webhook, said as Discord says it.

From its documentation ("Embed Limits", "Execute Webhook", "Allowed Mentions Object"). Lengths are
code points (discord-api-docs issue 1315) of text whose outer whitespace is trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

MAX_TOTAL = 6000
_REQUIRED = ("BASE_TYPE_REQUIRED", "This field is required")
_MENTION_KINDS = {"roles", "users", "everyone"}

Fault = tuple[str, str, str]  # dotted path, code, message


def faults_of(payload: Any) -> dict[str, Any] | None:
    """Returns the body of the 400 that a payload earns, or None."""
    if not isinstance(payload, dict):
        return {"message": "The request body contains invalid JSON.", "code": 50109}
    if not payload.get("content") and not payload.get("embeds"):
        return {"message": "Cannot send an empty message", "code": 50006}
    faults = [*_message_faults(payload), *_mention_faults(payload.get("allowed_mentions", {}))]
    for index, embed in enumerate(payload.get("embeds", [])):
        faults += [
            (f"embeds.{index}.{path}", code, text) for path, code, text in _embed_faults(embed)
        ]
    return _invalid_form(faults) if faults else None


def _message_faults(payload: dict[str, Any]) -> Iterator[Fault]:
    yield from _text("content", payload.get("content"), 2000)
    yield from _text("username", payload.get("username"), 80)
    name = str(payload.get("username", "")).lower()
    for word in ("discord", "clyde"):
        if word in name:
            yield ("username", "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
    embeds = payload.get("embeds", [])
    if len(embeds) > 10:
        yield ("embeds", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    if sum(map(size_of, embeds)) > MAX_TOTAL:
        text = f"Embed size exceeds maximum size of {MAX_TOTAL}"
        yield ("embeds", "MAX_EMBED_SIZE_EXCEEDED", text)


def _mention_faults(mentions: dict[str, Any]) -> Iterator[Fault]:
    if not set(mentions.get("parse", [])) <= _MENTION_KINDS:
        yield ("allowed_mentions.parse", "BASE_TYPE_CHOICES", "Value must be one of the choices")


def _embed_faults(embed: dict[str, Any]) -> Iterator[Fault]:
    yield from _text("title", embed.get("title"), 256)
    yield from _text("description", embed.get("description"), 4096)
    if "footer" in embed:
        yield from _text("footer.text", embed["footer"].get("text"), 2048, required=True)
    fields = embed.get("fields", [])
    if len(fields) > 25:
        yield ("fields", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for index, entry in enumerate(fields):
        yield from _text(f"fields.{index}.name", entry.get("name"), 256, required=True)
        yield from _text(f"fields.{index}.value", entry.get("value"), 1024, required=True)
    colour = embed.get("color", 0)
    if not isinstance(colour, int) or not 0 <= colour <= 0xFFFFFF:
        yield ("color", "NUMBER_TYPE_MAX", "int value should be less than or equal to 16777215.")
    if "timestamp" in embed:
        yield from _timestamp(embed["timestamp"])


def _timestamp(text: str) -> Iterator[Fault]:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        yield ("timestamp", "DATE_TIME_TYPE_PARSE", f"Could not parse {text}. Should be ISO8601.")


def _text(path: str, value: Any, limit: int, *, required: bool = False) -> Iterator[Fault]:
    if value is None and not required:
        return
    if not isinstance(value, str) or (required and not value.strip()):
        yield (path, *_REQUIRED)
    elif any("\ud800" <= char <= "\udfff" for char in value):
        yield (path, "BASE_TYPE_BAD_STRING", "Invalid string encoding.")
    elif len(value.strip()) > limit:
        yield (path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def size_of(embed: dict[str, Any]) -> int:
    """Returns the characters of an embed that count towards the 6,000 of its message."""
    texts = [embed.get("title"), embed.get("description"), embed.get("footer", {}).get("text")]
    for entry in embed.get("fields", []):
        texts += [entry.get("name"), entry.get("value")]
    return sum(len(text.strip()) for text in texts if isinstance(text, str))


def _invalid_form(faults: list[Fault]) -> dict[str, Any]:
    errors: dict[str, Any] = {}
    for path, code, text in faults:
        node = errors
        for part in path.split("."):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": code, "message": text})
    return {"message": "Invalid Form Body", "code": 50035, "errors": errors}
