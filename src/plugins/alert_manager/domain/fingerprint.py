"""What makes two alerts the same: a hash of rule, severity and the rule's identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from .model import Payload, Severity, StateKey
from .paths import Path, getter, lookup

_SHORT = 100  # characters of a text that is worth remembering the hash of
SIZE = 16  # bytes; 128 bits make an accidental collision of two alerts a matter of aeons

_encoder = msgspec.json.Encoder(order="sorted")


def fingerprint(
    rule: str,
    severity: Severity,
    data: Payload,
    dedupe_by: tuple[Path, ...] | None,
    since: float | None = None,
) -> bytes:
    """Returns the 16-byte fingerprint of an alert.

    `dedupe_by` names the fields that identify it; None takes the whole payload, which is right for
    money: two different losses are two alerts. `since` tells apart the states that an alert stands
    for: each time that the same thing begins anew is another alert.
    """
    identity: Any = data if dedupe_by is None else [lookup(data, path) for path in dedupe_by]
    content = [rule, severity.key, identity]
    return _hash(content if since is None else [*content, since], SIZE)


def keyed(rule: str, per: tuple[Path, ...]) -> Callable[[Payload], StateKey]:
    """Returns what says the key of what a rule remembers of an event's kind."""
    if not per:
        only = (rule, _hash([], SIZE))
        return lambda data: only
    fields = [getter(path) for path in per]

    @lru_cache(maxsize=4096)
    def known(values: tuple[str, ...]) -> StateKey:
        return rule, _hash(values, SIZE)

    def key(data: Payload) -> StateKey:
        values = tuple([field(data) for field in fields])
        for value in values:
            if (
                type(value) is not str or len(value) > _SHORT
            ):  # 1, 1.0 and True are equal, and differ
                return rule, _hash(values, SIZE)
        return known(values)

    return key


def mark(data: Payload) -> int:
    """Returns a number that is the same for the same content, of 63 bits."""
    return int.from_bytes(_hash(data, 8)) >> 1


def _hash(content: Any, size: int) -> bytes:
    try:
        canonical = _encoder.encode(content)
    except UnicodeEncodeError:  # half a surrogate pair, in an event that is not redacted yet
        canonical = repr(content).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(canonical, digest_size=size).digest()
