"""Loads queries.sql: a statement by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


@cache
def _queries() -> Mapping[str, str]:
    text = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {
        name: _COMMENT.sub("", sql).strip()
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
    }


def query(name: str) -> str:
    """Returns the SQL of a named statement.

    Raises:
        KeyError: queries.sql has no such name.
    """
    return _queries()[name]
