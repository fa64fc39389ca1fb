"""What the host writes into `eventos`, Redis streams and its own log."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import zstandard

HIDDEN = "***"

_SECRET_KEY = re.compile(
    r"passw|contrase|secret|token|api_?key|webhook|credential|private_?key|authorization|dsn", re.I
)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)")
_DSN_PASSWORD = re.compile(r"(?<=password=)('(?:[^'\\]|\\.)*'|\S+)", re.I)
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
        return {str(key): readable(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [readable(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


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
            str(key): HIDDEN if _SECRET_KEY.search(str(key)) else without_secrets(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner, depth + 1) for inner in value]
    return mask(value) if isinstance(value, str) else value


def mask(text: str) -> str:
    """Hide user:password in URLs and password=… in connection strings."""
    return _DSN_PASSWORD.sub(HIDDEN, _URL_LOGIN.sub(HIDDEN, text))
