"""psycopg2 off the event loop: a few threads, as many connections, and a way to stop."""

from __future__ import annotations

import asyncio
import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 15_000
CANCEL_WAIT_SECONDS = 0.3

_CLOSED = "la conexión con PostgreSQL ya está cerrada"

# The faults that mean "the server is not there", as opposed to "the statement is wrong".
UNREACHABLE: tuple[type[Exception], ...] = (psycopg2.OperationalError, psycopg2.InterfaceError)

_DEFAULTS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    # A host that vanishes without a FIN must not keep a thread for the kernel's two hours.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class DatabaseClosedError(psycopg2.Error):
    """The database object was closed: nothing more runs on it, and no later try will."""


def connection_params(
    db_config: Mapping[str, Any],
    *,
    application_name: str,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
) -> dict[str, Any]:
    """Add time limits to a libpq configuration; what the user set himself wins.

    Args:
        db_config: libpq keywords.
        application_name: how the sessions are called in pg_stat_activity.
        statement_timeout_ms: the server's limit for one statement, in milliseconds.
    """
    params = {**_DEFAULTS, "application_name": application_name, **db_config}
    own = str(params.get("options") or "")
    # Later -c options win in libpq, so the user's own come last.
    params["options"] = f"-c statement_timeout={statement_timeout_ms} {own}".strip()
    return params


class Database:
    """One PostgreSQL database for coroutines.

    At most `size` threads run at once and each holds at most one connection, so the threads bound
    the connections too. Work beyond that waits in the executor's queue.
    """

    def __init__(
        self,
        db_config: Mapping[str, Any],
        *,
        application_name: str = "corec",
        size: int = 4,
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    ) -> None:
        self._params = connection_params(
            db_config,
            application_name=application_name,
            statement_timeout_ms=statement_timeout_ms,
        )
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix="corec-db")
        self._idle: deque[connection] = deque()
        self._busy: set[connection] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def open_connections(self) -> int:
        """Connections at hand: idle ones and those in use."""
        with self._lock:
            return len(self._idle) + len(self._busy)

    async def run(self, fn: Callable[[connection], T]) -> T:
        """Run `fn` in a thread, inside one transaction: committed if it returns, else rolled back.

        When the caller is cancelled the thread goes on to its end and gives the connection back.

        Raises:
            DatabaseClosedError: after `close`.
            psycopg2.Error: what the driver raised.
        """
        if self._closed:
            raise DatabaseClosedError(_CLOSED)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._work, fn)

    async def close(self, seconds: float = 1.0) -> None:
        """Take no more work, wait for what is in hand, cancel what stays. Idempotent."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._discard_idle()
        if await self._drained(seconds):
            return
        with self._lock:
            stuck = list(self._busy)
        _LOG.warning("PostgreSQL: %d consulta(s) en curso al cerrar; se cancelan", len(stuck))
        # PQcancel opens a connection of its own and may block: not on the loop, and not waited for.
        threading.Thread(target=_cancel_all, args=(stuck,), daemon=True).start()
        await self._drained(CANCEL_WAIT_SECONDS)

    async def _drained(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # Threads end this, not tasks: there is no event of the loop to wait for.
        while self._busy and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return not self._busy

    def _work(self, fn: Callable[[connection], T]) -> T:
        conn = self._take()
        try:
            result = fn(conn)
            conn.commit()
        except BaseException as exc:
            self._give_back(conn, broken=isinstance(exc, UNREACHABLE))
            raise
        self._give_back(conn, broken=False)
        return result

    def _take(self) -> connection:
        while (idle := self._take_idle()) is not None:
            if _alive(idle):
                return idle
            self._give_back(idle, broken=True)
        conn: connection = psycopg2.connect(**self._params)
        if self._closed:  # meanwhile: connecting can take seconds
            _close(conn)
            raise DatabaseClosedError(_CLOSED)
        with self._lock:
            self._busy.add(conn)
        return conn

    def _take_idle(self) -> connection | None:
        with self._lock:
            if not self._idle:
                return None
            conn = self._idle.pop()
            self._busy.add(conn)
            return conn

    def _give_back(self, conn: connection, *, broken: bool) -> None:
        if not broken:
            try:
                conn.rollback()  # a no-op after a commit; ends what a fault left open
                conn.autocommit = False
            except psycopg2.Error:
                broken = True
        with self._lock:
            self._busy.discard(conn)
            keep = not (broken or self._closed or conn.closed)
            if keep:
                self._idle.append(conn)
        if not keep:
            _close(conn)

    def _discard_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
        for conn in idle:
            _close(conn)


def _alive(conn: connection) -> bool:
    """Tell a usable idle connection from one whose server went away, without a round trip.

    A server that ends a session sends its farewell and closes, so the socket becomes readable.
    """
    if conn.closed or conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    poller = select.poll()
    poller.register(conn.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poller.poll(0)


def _close(conn: connection) -> None:
    try:
        conn.close()
    except psycopg2.Error as exc:
        _LOG.debug("al cerrar una conexión: %s", exc)


def _cancel_all(connections: list[connection]) -> None:
    for conn in connections:
        try:
            conn.cancel()
        except psycopg2.Error as exc:
            _LOG.debug("al cancelar una consulta: %s", exc)
