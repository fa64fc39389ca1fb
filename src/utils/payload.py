"""What the host writes into `eventos`, Redis streams and its own log."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import zstandard

HIDDEN = "***"

# The plugin redacts by forms of its own (domain/redact.py), since its folder works without ours.
# What both have to hide stands in one table, tests/support/secret_cases.py.
_SECRET_KEY = re.compile(
    r"pass(?:w|phrase|code|$|[_-])|contrase|secret|token|(?:api|access|private)[-_]?key|webhook"
    r"|credential|authorization|cookie|seed_?phrase|mnemonic"
    r"|(?:^|[_-])(?:auth|dsn|pwd|pin|cv[cv]|otp|jwt|clave)(?:$|[_-])",
    re.I,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # before a word in `webhookUrl`
_SECRET_FORMS = (
    # user:password in a URL, also with an @ or a / in the password
    (re.compile(r"(?<=://)[^\s/@:]{0,200}:(?:[^\s/]{1,500}|[^\s@]{1,60})(?=@)"), HIDDEN),
    (re.compile(r"(?<=/webhooks/)\d+/[\w-]{20,}"), HIDDEN),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{0,2000}"), HIDDEN),
    (re.compile(r"\b[spr]k[-_](?:live|test|proj)?[-_]?[A-Za-z0-9]{16,}"), HIDDEN),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"), HIDDEN),
    (
        re.compile(r"\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"),
        HIDDEN,
    ),
    (re.compile(r"(\bbearer\s{1,20})[\w.~+/-]{8,}=*", re.I), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(authorization[\"']?\s{0,3}[=:]\s{0,3}[\"']?(?:\w{1,20}\s{1,3})?)[^\s,;\"'}]+", re.I
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"((?:pass(?:word|wd|phrase|code)?|pwd|contraseña|clave|secret|token|api[-_]?key)"
            r"[\"']?\s{0,3}[=:]\s{0,3})(?:\"[^\"]+\"?|'(?:[^'\\]|\\.)*'?|[^\s,;&\"'}]+)",
            re.I,
        ),
        rf"\1{HIDDEN}",
    ),
)
_MAX_INTEGER_BITS = 1024  # more than any float holds
_MAX_DEPTH = 200
_MAX_READABLE_DEPTH = 50


class PayloadError(ValueError):
    """The value can't be written as JSON; the text names the path of the first such part."""


def encode_json(value: Mapping[str, Any]) -> str:
    """Write a payload as ASCII JSON.

    Raises:
        PayloadError: a part is no JSON (NaN and infinities included), or refers to itself.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise PayloadError(_complaint(value)) from exc


def readable(value: object, depth: int = 0) -> Any:
    """Return the nearest JSON of any value: numbers, dates and the like as their text.

    For an alert, whose loss would be worse than its form: a Decimal becomes `"150.5"`, NaN `"nan"`.
    """
    if depth > _MAX_READABLE_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            _text(readable(key, depth + 1)): readable(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [readable(inner, depth + 1) for inner in value]
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        return f"<entero de {value.bit_length()} bits>"
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever its __str__ does, the rest of the alert is told
        return f"<{type(value).__name__}>"


def encode_frame(text: str) -> bytes:
    """Compress a JSON text into one zstd frame that states its content's size."""
    return zstandard.ZstdCompressor(level=3).compress(text.encode())


def _complaint(value: object) -> str:
    where, found = _first_fault(value, "$", 0) or ("$", type(value).__name__)
    return (
        f"{where}: se encontró {found}; se espera JSON "
        "(objeto con claves de texto, lista, texto, número finito, booleano o null)"
    )


def _first_fault(value: object, path: str, depth: int) -> tuple[str, str] | None:
    if depth > _MAX_DEPTH:
        return path, "un anidamiento sin fin"
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str | int | float | bool | None):
                return path, f"una clave de tipo {type(key).__name__}"
            if (fault := _first_fault(inner, f"{path}.{key}", depth + 1)) is not None:
                return fault
        return None
    if isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            if (fault := _first_fault(inner, f"{path}[{index}]", depth + 1)) is not None:
                return fault
        return None
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return path, str(value)
    return None if isinstance(value, str | int | float | bool | None) else (path, _type_name(value))


def _type_name(value: object) -> str:
    return f"un valor de tipo {type(value).__name__}"


def without_secrets(value: object, depth: int = 0) -> object:
    """Copy a payload for the log, without secret-looking keys' values and logins in URLs."""
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN
            if _SECRET_KEY.search(_CAMEL.sub("_", str(key)))
            else without_secrets(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner, depth + 1) for inner in value]
    return mask(value) if isinstance(value, str) else value


def mask(text: str) -> str:
    """Hide what has the form of a secret: logins in URLs, password=…, tokens, keys, webhooks."""
    for pattern, replacement in _SECRET_FORMS:
        text = pattern.sub(replacement, text)
    return text
