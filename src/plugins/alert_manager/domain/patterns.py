"""Regular expressions that people write, and that texts of events are matched with."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_TEXT = 200  # characters of a text that are looked at

# What stands for itself: an escaped character, or a set of characters.
_PLAIN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEATED = re.compile(r"[*+]|\{\d*,\d*\}")


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> re.Pattern[str]:
    """Compiles a regular expression that no text can make run for ever.

    A repeated group that itself repeats or chooses, as `(a+)+`, has so many ways to match that a
    text of thirty characters takes years, in which nothing else would run.

    Raises:
        ValueError: it is none, or such a one.
    """
    try:
        pattern = re.compile(source)
    except re.error as error:
        raise ValueError(f"expresión regular inválida: {error}") from None
    if _is_explosive(_PLAIN.sub("x", source)):
        raise ValueError(
            "un grupo que se repite no puede llevar dentro otra repetición ni alternativas (|): "
            "con algunos textos tardaría años"
        )
    return pattern


def _varies(source: str, position: int) -> bool:
    """Says whether what stands there lets a group match the same text in several ways."""
    if source[position] == "?":
        return source[position - 1] != "("  # which begins a kind of group
    return source[position] == "|" or _REPEATED.match(source, position) is not None


def _is_explosive(source: str) -> bool:
    groups: list[bool] = []  # of each open group: whether it repeats or chooses
    position = 0
    while position < len(source):
        character = source[position]
        position += 1
        if character == "(":
            groups.append(False)
        elif character == ")" and groups:
            inner = groups.pop()
            if inner and _REPEATED.match(source, position):
                return True
            if inner and groups:
                groups[-1] = True
        elif groups and _varies(source, position - 1):
            groups[-1] = True
    return False
