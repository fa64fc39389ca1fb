"""Addresses of web servers that messages go to; no sentence repeats one: it may be a key."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from ...hosts import is_loopback

_KEY = re.compile(r"[\w.~+-]{8,}")
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

    The longest first: what is part of another is hidden with it.
    """
    _, _, rest = address.partition("://")
    path = rest.partition("/")[2]
    parts = {address, path, *_KEY.findall(path), *_KEY.findall(rest.rpartition("@")[0])}
    return tuple(sorted(parts - {""}, key=len, reverse=True))


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # read here because a bad one raises
    except ValueError:
        return None
    return None if _UNPRINTABLE.search(address) or not parts.hostname else parts
