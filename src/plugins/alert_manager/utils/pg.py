"""One PostgreSQL connection with a thread of its own: psycopg2 without blocking the event loop.

A session opens its connection when it is first needed, and a new one after a failure. There is no
pool that could run empty: each part of the plugin has its session, and waits for its turn there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import parse_dsn

from ..domain.errors import DatabaseUnavailableError, RefusedError

T = TypeVar("T")
log = logging.getLogger("corec.alert_manager.pg")

# A server that vanished without a word is noticed within 15 s: the client's own limits for a silent
# peer, then `CALL_TIMEOUT` for one that accepts packets and answers nothing.
CONNECT_TIMEOUT = 5  # seconds
STATEMENT_TIMEOUT = 10_000  # milliseconds
LOCK_TIMEOUT = 9_000  # milliseconds
CALL_TIMEOUT = 13.0  # seconds
PROBE_TIMEOUT = 4.0  # seconds
_NETWORK = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class PgSession:
    """One connection to one database, used by one call at a time."""

    def __init__(self, name: str, parameters: Mapping[str, Any], autocommit: bool = False) -> None:
        self.name = name
        self._parameters = _connect_parameters(name, parameters)
        self._autocommit = autocommit
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"pg-{name}")
        self._connection: Connection | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        """Grows with each new connection: what was set up on an older one is gone."""
        return self._generation

    @property
    def connected(self) -> bool:
        """True while the last call left a usable connection."""
        return self._connection is not None and not self._connection.closed

    async def run(self, work: Callable[[Connection], T], limit: float = CALL_TIMEOUT) -> T:
        """Runs `work(connection)` in the session's thread and commits; rolls back when it raises.

        `limit` is in seconds; after it the call is cut off.

        Raises:
            DatabaseUnavailableError: no connection, or it was lost; the next call opens a new one.
            RefusedError: the server refused a value (bad data, a violated constraint).
            psycopg2.Error: the server refused a statement for another reason.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._call, work)
        done, _ = await asyncio.wait({future}, timeout=limit)
        if not done:
            # Cutting the socket makes the blocked thread return at once, with an error.
            self._cut()
            with contextlib.suppress(DatabaseUnavailableError, psycopg2.Error):
                await future
            raise DatabaseUnavailableError(f"{self.name}: sin respuesta en {limit:g} s")
        return future.result()

    async def probe(self) -> None:
        """Asks the server for an answer, with a statement of its own.

        Raises:
            DatabaseUnavailableError: none came within 4 s.
        """

        def ask(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        await self.run(ask, limit=PROBE_TIMEOUT)

    async def close(self) -> None:
        """Closes the connection and ends the thread; a blocked call is cut off."""
        self._cut()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._drop)
        self._executor.shutdown(wait=False)

    def _call(self, work: Callable[[Connection], T]) -> T:
        connection = self._open()
        try:
            result = work(connection)
            if not self._autocommit:
                connection.commit()
        except psycopg2.Error as error:
            if connection.closed or _is_lost(error):
                self._drop()
                raise DatabaseUnavailableError(f"{self.name}: {_first_line(error)}") from error
            self._undo(connection)
            if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
                raise RefusedError(f"{self.name}: {_first_line(error)}") from error
            raise
        except BaseException:
            self._undo(connection)
            raise
        return result

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection: Connection = psycopg2.connect(**self._parameters)
            connection.autocommit = self._autocommit
        except psycopg2.Error as error:
            raise DatabaseUnavailableError(f"{self.name}: {_first_line(error)}") from error
        self._connection = connection
        self._generation += 1
        return connection

    def _undo(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except psycopg2.Error:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()

    def _cut(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            return
        with contextlib.suppress(OSError, psycopg2.Error):
            duplicate = socket.socket(fileno=os.dup(connection.fileno()))
            with duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


def _connect_parameters(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Adds our limits to what the user's DSN says; what it says itself stays."""
    given = dict(parameters)
    given = {**parse_dsn(given.pop("dsn", "")), **given}
    limits = (
        f"-c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={LOCK_TIMEOUT}"
        # The server's side too: a backend whose client vanished would hold our lead for hours.
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
        " -c tcp_user_timeout=10000"
    )
    return {
        **_NETWORK,
        "application_name": f"alert_manager/{name}",
        **given,
        "options": f"{limits} {given.get('options', '')}".strip(),
    }


def _is_lost(error: psycopg2.Error) -> bool:
    """Says whether the connection is lost; after a crash that may come as the base class."""
    lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
    return isinstance(error, lost) or type(error) is psycopg2.DatabaseError


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
