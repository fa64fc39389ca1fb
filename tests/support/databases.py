"""Databases that tests have one after the other: a new one takes ten times as long to make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from tests.support.servers import TestPostgres

_MOST = 30  # tests; the catalogues of a database grow by what was dropped in it

# What DROP SCHEMA would leave behind, as far as tests make any of it.
_IS_PLAIN = """
SELECT d.datacl IS NULL AND d.datallowconn AND d.datconnlimit = -1 AND d.datdba = %(owner)s::regrole
   AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid)
   AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = d.datname)
   AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = d.datname)
   AND NOT EXISTS (SELECT FROM pg_subscription WHERE subdbid = d.oid)
  FROM pg_database AS d WHERE datname = %(name)s
"""
_HAS_MORE = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql')
    OR EXISTS (SELECT FROM pg_default_acl) OR EXISTS (SELECT FROM pg_publication)
    OR EXISTS (SELECT FROM pg_event_trigger) OR EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN
               ('public', 'information_schema'))
"""
_END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
_EMPTY = """
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
SELECT pg_stat_reset();
"""


class Databases:
    """Databases of one owner on one server, with the same tables.

    Args:
        schema: the file with their tables; None: they have none.
    """

    def __init__(
        self, server: TestPostgres, prefix: str, owner: str, schema: Path | None = None
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._owner = owner
        self._schema = "" if schema is None else schema.read_text(encoding="utf-8")
        self._free: list[tuple[str, int]] = []  # their DSN, and how many tests had them

    @contextmanager
    def one(self) -> Iterator[str]:
        """A database that nobody else has, as good as new; its owner's DSN."""
        self._server.start()
        if self._free:
            dsn, used = self._free.pop()
        else:
            dsn, used = self._server.create_database(self._prefix, owner=self._owner), 0
        if self._schema:
            with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
                cursor.execute(self._schema)
                connection.commit()
        yield dsn
        self._server.start()
        self._take_back(dsn, used + 1)

    def _take_back(self, dsn: str, used: int) -> None:
        if used < _MOST and self._is_plain(dsn):
            # Who still has the old name finds nothing.
            renamed = self._renamed(dsn)
            if renamed is not None:
                dsn = renamed
                if self._emptied(dsn):
                    self._free.append((dsn, used))
                    return
        self._server.drop_database(dsn)

    def _is_plain(self, dsn: str) -> bool:
        with self._server.administrator() as cursor:
            cursor.execute(_IS_PLAIN, {"name": _name(dsn), "owner": self._owner})
            return cursor.fetchone() == (True,)

    def _renamed(self, dsn: str) -> str | None:
        """Ends all connections; returns the new DSN, or None where somebody comes again."""
        old, new = _name(dsn), self._server.unused_name(self._prefix)
        with self._server.administrator() as cursor:
            cursor.execute(_END, (old,))
            try:
                cursor.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
            except psycopg2.errors.ObjectInUse:
                return None
        return self._server.dsn(new, self._owner)

    def _emptied(self, dsn: str) -> bool:
        """Empties a database; False where it holds what is not looked for."""
        with self._server.administrator(_name(dsn)) as cursor:
            cursor.execute(_HAS_MORE)
            if cursor.fetchone() != (False,):
                return False
            cursor.execute(_EMPTY)
        return True


def _name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")
