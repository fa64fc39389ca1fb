"""Arrays as one PostgreSQL literal each, for statements that take a batch.

psycopg2 would quote each element by itself, and write ARRAY[…], over which the server takes three
times as long.
"""

from __future__ import annotations

from collections.abc import Iterable


def numbers(values: Iterable[float | None]) -> str:
    """Returns an array of whole or floating-point numbers, or booleans; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Returns an array of texts; None is NULL."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    ]
    return "{" + ",".join(quoted) + "}"


def blobs(values: Iterable[bytes]) -> str:
    """Returns an array of bytea."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"
