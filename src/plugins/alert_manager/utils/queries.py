"""Loads statements by their names; eventos.sql is about corec_db, the others about alert_db."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

_FILES = ("queries.sql", "life.sql", "operators.sql", "old_rows.sql", "eventos.sql")
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_SHARED = re.compile(r"\{(\w+)\}")
_PARAMETER = re.compile(r"%\((\w+)\)s")
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


@cache
def statements(*files: str) -> Mapping[str, str]:
    """Returns what is in files of this folder, by name; `{name}` stands for another one's text."""
    texts = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in files]
    parts = [part for text in texts for part in _NAME.split(text)[1:]]
    found = {
        name: _COMMENT.sub("", sql).strip()
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
    }

    def whole(sql: str) -> str:
        return _SHARED.sub(lambda s: whole(found[s[1]]) if s[1] in found else s[0], sql)

    return {name: whole(sql) for name, sql in found.items()}


def fetch_row(
    cursor: Cursor, name: str, arguments: Mapping[str, Any] | None = None
) -> tuple[Any, ...] | None:
    """Returns a statement's first row, or None."""
    cursor.execute(query(name), arguments)
    return cursor.fetchone()


def fetch_value(cursor: Cursor, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Returns the first column of a statement's first row; None where there is no row."""
    cursor.execute(query(name), arguments)
    return _first_value(cursor)


def _first_value(cursor: Cursor) -> Any:
    row = cursor.fetchone()
    return None if row is None else row[0]


def row_or_none(
    connection: Connection, name: str, arguments: Mapping[str, Any] | None = None
) -> tuple[Any, ...] | None:
    """Returns a statement's first row, or None, by a cursor of its own."""
    with connection.cursor() as cursor:
        return fetch_row(cursor, name, arguments)


def row_of(
    connection: Connection, name: str, arguments: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    """Returns a statement's first row, by a cursor of its own.

    Raises:
        LookupError: it returned none.
    """
    row = row_or_none(connection, name, arguments)
    if row is None:
        raise LookupError(f"{name} returned no row")
    return row


class PreparingConnection(Connection):
    """A connection that remembers which statements its server has prepared."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: set[str] = set()


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Lets each statement be a transaction of its own: two round trips less for a question.

    Between transactions only, and for what is no transaction together.
    """
    before, connection.autocommit = connection.autocommit, True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = before


def execute_prepared(
    cursor: Cursor, name: str, arguments: Mapping[str, Any], sql: str | None = None
) -> None:
    """Executes a named statement that the server parses and plans once a connection.

    For statements of every batch and every message: planning one takes longer than running it.
    `sql`: its text on this connection, where that is not what the file has.
    """
    connection = cursor.connection
    if not isinstance(connection, PreparingConnection):
        cursor.execute(sql or query(name), arguments)
        return
    prepare, execute = _prepared(name, sql or query(name))
    if name not in connection.prepared:
        cursor.execute(prepare)  # outlives a rollback
        connection.prepared.add(name)
    cursor.execute(execute, arguments)


def prepared_value(cursor: Cursor, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Returns what `fetch_value` does, of a statement that the server prepares."""
    execute_prepared(cursor, name, arguments or {})
    return _first_value(cursor)


@cache
def _prepared(name: str, sql: str) -> tuple[str, str]:
    sql = sql.rstrip(";")
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql)
    values = ", ".join(f"%({parameter})s" for parameter in names)
    text = numbered.replace("%%", "%")
    return f"PREPARE {name} AS {text}", f"EXECUTE {name} ({values})" if names else f"EXECUTE {name}"


def query(name: str) -> str:
    """Returns the SQL of a named statement.

    Raises:
        KeyError: no file has such a name.
    """
    return statements(*_FILES)[name]
