"""Dotted field paths into a payload, such as `valor.errores` or `recommendations.0.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Path = tuple[str, ...]


def parse_path(text: str) -> Path:
    """Splits a dotted path.

    Raises:
        ValueError: a part is empty.
    """
    parts = tuple(text.split("."))
    if not all(parts):
        raise ValueError(f"se encontró {text!r}; se espera un campo como 'a' o 'a.b'")
    return parts


def lookup(data: Any, path: Path) -> Any:
    """Returns the value at `path`, or None where there is none."""
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and part.isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data


def getter(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    """Returns `lookup` for one path: nearly all are one name, and nothing is quicker than `get`."""
    if len(path) == 1:
        name = path[0]
        return lambda data: data.get(name)
    return lambda data: lookup(data, path)


def nested(values: Mapping[Path, Any]) -> dict[str, Any]:
    """Returns values by their paths as one payload, in which `lookup` finds them again."""
    payload: dict[str, Any] = {}
    for path, value in sorted(values.items(), reverse=True):  # what is inside before what is around
        inner: Any = payload
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    return payload
