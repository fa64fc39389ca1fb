"""Addresses of web servers that messages go to; no sentence repeats one: it may be a key."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_plus, urlsplit

from ...hosts import is_loopback

_KEY = re.compile(r"[\w.~+-]{8,}")
_SHORTEST = 4  # characters of a key; shorter ones would be masked inside of common words
_LONG = 8
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def checked_address(address: str, form: str) -> SplitResult:
    """Returns the parts of an address: https anywhere, or http on this machine.

    Args:
        address: as it was configured.
        form: what is expected, for a person.

    Raises:
        ValueError: it is none of that.
    """
    parts = _split(address)
    if parts is None or parts.scheme not in ("http", "https"):
        raise ValueError(f"no es una dirección web; se espera {form}")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"lleva un usuario o un fragmento (#); se espera {form}")
    if parts.scheme != "https" and not is_here(parts):
        raise ValueError(
            f"usa http sin cifrar, permitido solo hacia esta máquina; se espera {form}"
        )
    return parts


def is_here(parts: SplitResult) -> bool:
    """Says whether an address is on this machine."""
    return is_loopback(parts.hostname or "")


def secret_parts(address: str) -> tuple[str, ...]:
    """Returns what of an address must not be repeated: all of it, and whatever may be a key in it.

    As it is written, and as a server reads it. The longest first: what is part of another is hidden
    with it.
    """
    _, _, rest = address.partition("://")
    path, _, query = rest.partition("/")[2].partition("?")
    values = {value for _, value in parse_qsl(query) if len(value) >= _SHORTEST}
    values |= {part.partition("=")[2] for part in query.split("&")}
    whole = {address, rest.partition("/")[2], path, rest.rpartition("@")[0]}
    parts = {*whole, *values, *(part for part in path.split("/") if len(part) >= _LONG)}
    parts |= {key for text in whole for key in _KEY.findall(text)}
    read = {decoded for part in parts for decoded in (unquote(part), unquote_plus(part))}
    found = {part for part in parts | read if len(part) >= _SHORTEST}
    return tuple(sorted(found, key=len, reverse=True))


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # read here because a bad one raises
    except ValueError:
        return None
    return None if _UNPRINTABLE.search(address) or not parts.hostname else parts
