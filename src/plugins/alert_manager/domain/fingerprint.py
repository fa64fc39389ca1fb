"""What makes two alerts the same: a hash of rule, severity and the rule's identity."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from .model import Payload, Severity
from .paths import Path, lookup

SIZE = 16  # bytes; 128 bits make an accidental collision of two alerts a matter of aeons

_encoder = msgspec.json.Encoder(order="sorted")


def fingerprint(
    rule: str, severity: Severity, data: Payload, dedupe_by: tuple[Path, ...] | None
) -> bytes:
    """Returns the 16-byte fingerprint of an alert.

    `dedupe_by` names the fields that identify it; None takes the whole payload, which is right for
    money: two different losses are two alerts.
    """
    identity: Any = data if dedupe_by is None else [lookup(data, path) for path in dedupe_by]
    canonical = _encoder.encode([rule, severity.key, identity])
    return hashlib.blake2b(canonical, digest_size=SIZE).digest()
