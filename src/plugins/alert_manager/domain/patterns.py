"""Regular expressions that people write, and that texts of events are matched with.

By RE2, which takes a time in proportion to the text whatever the expression: Python's own may take
years over thirty characters, in which nothing else would run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

_MAX_TEXT = 1 << 16  # characters of a text that are looked at


def check_pattern(source: str) -> None:
    """Checks a regular expression.

    Raises:
        ValueError: it is none, or one that looks ahead or back, or repeats too often.
    """
    try:
        _compiled(source)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"expresión regular inválida: {text}") from None


def searcher(source: str) -> Callable[[str], bool]:
    """Returns what says whether a part of a text matches.

    Raises:
        re2.error: `check_pattern` refuses it.
    """
    search = _compiled(source).search
    return lambda text: search(_bytes(text)) is not None


def matches_all(source: str, text: str) -> bool:
    """Says whether a text matches as a whole.

    Raises:
        re2.error: `check_pattern` refuses it.
    """
    return _compiled(source).fullmatch(_bytes(text)) is not None


PatternError: type[Exception] = re2.error
"""What an expression raises that `check_pattern` refuses."""


def _bytes(text: str) -> bytes:
    return text[:_MAX_TEXT].encode("utf-8", "replace")  # a lone half of a character is none


@lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # on stderr
    return re2.compile(source, options=options)
