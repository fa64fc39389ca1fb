"""One PostgreSQL connection with a thread of its own: psycopg2 without blocking the event loop.

A session opens its connection when it is first needed, and a new one after a failure. There is no
pool that could run empty: each part of the plugin has its session, and waits for its turn there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..database_settings import ENCODING
from ..domain.errors import DatabaseUnavailableError
from .pg_errors import first_line, is_lost, translated
from .queries import PreparingConnection

T = TypeVar("T")

# A server that vanished without a word is noticed within 15 s: the client's own limits for a silent
# peer, then `CALL_TIMEOUT` for one that accepts packets and answers nothing.
CONNECT_TIMEOUT = 5  # seconds
STATEMENT_TIMEOUT = 8_000  # milliseconds
LOCK_TIMEOUT = 7_000  # milliseconds
IDLE_TIMEOUT = 12_000  # milliseconds
CALL_TIMEOUT = 9.0  # seconds
PROBE_TIMEOUT = 4.0  # seconds
_CLOSE_WAIT = 1.0  # seconds that a stop waits for a call that was cut
_NETWORK = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class _Link:
    """A connection, and a way to cut it off.

    libpq closes its own descriptor when a connection breaks, and another file may get the number:
    the duplicate stays this connection's, so that nobody else is ever cut.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))

    def cut(self) -> None:
        """Makes a thread that waits for the server return, with an error; never blocks.

        Not `connection.cancel()`: that connects anew with the GIL held.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives both descriptors back."""
        self._socket.close()
        with contextlib.suppress(psycopg2.Error):
            self.connection.close()


class PgSession:
    """One connection to one database, used by one call at a time."""

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        autocommit: bool = False,
        idle_limit: float = 0.0,
    ) -> None:
        """Connects to nothing yet; the server ends a session idle for `idle_limit` s (0: never)."""
        self.name = name
        self._parameters = _connect_parameters(name, parameters, idle_limit)
        self._autocommit = autocommit
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"pg-{name}")
        self._turn = asyncio.Lock()
        self._in_thread: asyncio.Future[Any] | None = None
        self._link: _Link | None = None
        self._generation = 0
        self._cut_off = -1  # the newest generation that was cut; its thread may not know yet
        self._closed = False
        self._refused = False
        self._refusal: asyncio.Future[None] | None = None
        self.unanswered_since: float | None = None
        """Since when no call was answered, though some asked (monotonic)."""
        self.failed_at = float("-inf")
        """When a call last came to nothing: no connection, or a lost one (monotonic)."""

    @property
    def generation(self) -> int:
        """Grows with each new connection: what was set up on an older one is gone."""
        return self._generation

    @property
    def connected(self) -> bool:
        """True while the last call left a usable connection."""
        link = self._link
        return link is not None and not link.connection.closed and self._cut_off != self._generation

    async def run(self, work: Callable[[Connection], T], limit: float = CALL_TIMEOUT) -> T:
        """Runs `work(connection)` in the session's thread and commits; rolls back when it raises.

        In a session in autocommit each statement is by itself; what has to be one transaction is
        in `with connection`.

        Calls wait for their turn without end; `limit` (seconds) is for this one alone, once it has
        its turn. After it the call is cut off.

        Raises:
            DatabaseUnavailableError: no connection, or it was lost; the next call opens a new one.
            TooSlowError: the server gave a statement up after 8 s; nothing was stored.
            RefusedError: the server refused a value (bad data, a violated constraint).
            DatabaseUnusableError: a table or column is missing, or the role may not use it.
            psycopg2.Error: the server refused a statement for another reason.
        """
        async with self._turn:
            try:
                return await self._run(work, limit)
            except DatabaseUnavailableError:
                self.failed_at = time.monotonic()
                raise

    async def probe(self, limit: float = PROBE_TIMEOUT) -> None:
        """Asks the server for an answer, with a statement of its own.

        Raises:
            DatabaseUnavailableError: none came within `limit` seconds.
        """

        def ask(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        await self.run(ask, limit)

    def refuse(self) -> None:
        """Makes every call fail at once, those that wait too, until `accept`: nothing answers."""
        self._refused = True
        if self._refusal is not None and not self._refusal.done():
            self._refusal.set_result(None)

    def accept(self) -> None:
        """Takes calls again; those that wait for an answer can still be refused."""
        self._refused = False
        if self._refusal is not None and self._refusal.done():
            self._refusal = None

    async def close(self) -> None:
        """Closes the connection and ends the thread; a blocked call is cut off, not waited for."""
        if self._closed:
            return
        self._closed = True
        self._cut()
        loop = asyncio.get_running_loop()
        dropped = loop.run_in_executor(self._executor, self._drop)
        # A thread that is connecting cannot be cut: it ends by itself, within CONNECT_TIMEOUT.
        await asyncio.wait({dropped}, timeout=_CLOSE_WAIT)
        self._executor.shutdown(wait=False)

    async def _run(self, work: Callable[[Connection], T], limit: float) -> T:
        # Whoever started a call may have been cancelled; the call itself is still there.
        await self._leave_thread(limit)
        if self._closed:
            raise DatabaseUnavailableError(f"{self.name}: la sesión está cerrada")
        if self._refused:
            raise DatabaseUnavailableError(f"{self.name}: la base no responde")
        if self.unanswered_since is None:
            self.unanswered_since = time.monotonic()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._call, work)
        future.add_done_callback(_retrieve)
        self._in_thread = future
        await self._leave_thread(limit)
        if not isinstance(future.exception(), DatabaseUnavailableError):
            self.unanswered_since = None
        return future.result()

    async def _leave_thread(self, limit: float) -> None:
        """Waits until the thread is free; cuts what it does after `limit` seconds, or a refusal."""
        if self._in_thread is None:
            return
        if self._refusal is None:
            self._refusal = asyncio.get_running_loop().create_future()
            if self._refused:
                self._refusal.set_result(None)
        ends = {self._in_thread, self._refusal}
        await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not self._in_thread.done():
            # Cutting the socket makes the blocked thread return soon, with an error.
            self._cut()
            if self._refused:
                raise DatabaseUnavailableError(f"{self.name}: la base no responde")
            raise DatabaseUnavailableError(f"{self.name}: sin respuesta en {limit:g} s")
        self._in_thread = None

    def _call(self, work: Callable[[Connection], T]) -> T:
        connection = self._open()
        try:
            result = work(connection)
            if not self._autocommit:
                connection.commit()
        except psycopg2.Error as error:
            if connection.closed or is_lost(error):
                self._drop()
            else:
                self._undo(connection)
            raise translated(self.name, error) from error
        except BaseException:
            self._undo(connection)
            raise
        return result

    def _open(self) -> Connection:
        if self._link is not None and not self._link.connection.closed:
            return self._link.connection
        self._drop()
        try:
            connection: Connection = psycopg2.connect(
                **self._parameters, connection_factory=PreparingConnection
            )
            connection.autocommit = self._autocommit
        except psycopg2.Error as error:
            raise DatabaseUnavailableError(f"{self.name}: {first_line(error)}") from error
        self._link = _Link(connection)
        self._generation += 1
        if self._closed:  # meanwhile: connecting can take seconds
            self._drop()
            raise DatabaseUnavailableError(f"{self.name}: la sesión está cerrada")
        return connection

    def _undo(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except psycopg2.Error:
            self._drop()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _cut(self) -> None:
        self._cut_off = self._generation
        if (link := self._link) is not None:
            link.cut()


def _connect_parameters(name: str, given: Mapping[str, Any], idle_limit: float) -> dict[str, Any]:
    """Adds our limits to what the user's configuration says; what it says itself stays."""
    limits = (
        f"-c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={LOCK_TIMEOUT}"
        # A plan that is kept may be one of an empty table: let it be by an index all the same. What
        # has none would then seem so dear that it is compiled first.
        " -c enable_seqscan=off -c jit=off"
        # Cut off between two statements, a transaction would hold the lock of all commits.
        f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT}"
        f" -c idle_session_timeout={int(idle_limit * 1000)}"
        # The server's side too: a backend whose client vanished would hold our lead for hours.
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
        " -c tcp_user_timeout=10000"
    )
    return {
        **_NETWORK,
        "application_name": f"alert_manager/{name}",
        **given,
        "client_encoding": ENCODING,
        "options": f"{limits} {given.get('options', '')}".strip(),
    }


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Takes the fault of a call that nobody waits for any more, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()
