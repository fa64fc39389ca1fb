"""Takes secrets out of a payload, and makes it safe to store as jsonb, in one walk.

Redacted: the value of any key that names a secret, at any depth, and secrets inside text that give
themselves away by their form (credentials in a URL, a JWT, well-known key prefixes).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from .model import Payload

MASK = "[oculto]"
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|contrase(n|ñ)a|secret|token|(api|access|private)[-_]?key|authorization"
    r"|cookie|credential|(^|_)(dsn|pwd|pin|cvv|otp|jwt|clave)($|_)|webhook_url|seed_?phrase|mnemonic",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?<=://)[^\s/@:]{0,200}:[^\s/]{1,500}(?=@)"  # user:password in a URL
    r"|(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{0,2000}"  # JWT
    r"|\b(?:sk|pk|rk)[-_](?:live|test|proj)?[-_]?[A-Za-z0-9]{16,}"  # Stripe, OpenAI
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abprs]-[\w-]{10,}"  # GitHub, Slack
    r"|\bAKIA[0-9A-Z]{16}\b"  # AWS
    r"|(?<=/webhooks/)\d+/[\w-]{20,}"  # Discord webhook
    r"|(?i:\bbearer\s+)[\w.~+/-]{8,}=*"
    r"|(?i:\b(?:password|passwd|pwd|contraseña|clave|secret|token|api[-_]?key)[\"']?\s{0,3}[=:]"
    r"\s{0,3}[\"']?)[^\s,;&\"'}]+"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what jsonb refuses
_REPLACEMENT = "\ufffd"
_MAX_JSON_INT = 10**30  # beyond it a number in a payload is noise; kept as text


def redact(data: Payload) -> dict[str, Any]:
    """Returns a copy of `data` without secrets, which jsonb accepts as it is."""
    return {
        redact_text(key): MASK if _is_secret(key, value) else _redact_value(value)
        for key, value in data.items()
    }


def redact_text(text: str) -> str:
    """Returns `text` without what has the form of a secret, nor characters that jsonb refuses."""
    return _SECRET_TEXT.sub(MASK, _UNSTORABLE.sub(_REPLACEMENT, text))


def _is_secret(key: str, value: Any) -> bool:
    return value not in (None, "", False, True) and _SECRET_KEY.search(key) is not None


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return redact({str(key): item for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_JSON_INT:
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return value
