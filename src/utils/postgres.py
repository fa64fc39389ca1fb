"""psycopg2 off the event loop: a few threads, as many connections, and a way to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import psycopg2
from psycopg2.extensions import connection

from src.utils.pg_link import Link

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 15_000
# More than a statement may take: this one is for a server that says nothing any more.
ANSWER_SECONDS = 20.0
CUT_WAIT_SECONDS = 0.3

_CLOSED = "la conexión con PostgreSQL ya está cerrada"

# The faults that mean "the server is not there", as opposed to "the statement is wrong". One that
# became a standby counts: a new connection is how the server that took over is found.
UNREACHABLE: tuple[type[Exception], ...] = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.errors.ReadOnlySqlTransaction,
)

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


class NoAnswerError(psycopg2.OperationalError):
    """The time for an answer, waiting for a free thread included, was over."""


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
    params["client_encoding"] = "UTF8"  # a SQL_ASCII database would have us speak ASCII
    own = str(params.get("options") or "")
    # Later -c options win in libpq, so the user's own come last.
    params["options"] = f"-c statement_timeout={statement_timeout_ms} {own}".strip()
    return params


class _Job(Generic[T]):
    """One call of `run`: what to do, the connection it works on, and whether anybody waits."""

    def __init__(self, fn: Callable[[connection], T]) -> None:
        self.fn = fn
        self.link: Link | None = None
        self.abandoned = False


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
        self._idle: deque[Link] = deque()
        self._busy: set[Link] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections at hand: idle ones and those in use."""
        with self._lock:
            return len(self._idle) + len(self._busy)

    async def run(self, fn: Callable[[connection], T], seconds: float = ANSWER_SECONDS) -> T:
        """Run `fn` in a thread, inside one transaction: committed if it returns, else rolled back.

        When the time is over or the caller is cancelled, work that waits for a thread never starts,
        and work in hand loses its connection, which rolls it back unless it was just committing.

        Args:
            fn: what to do; it must leave commit and rollback to this.
            seconds: how long all may take, waiting for a thread included.

        Raises:
            DatabaseClosedError: after `close`.
            NoAnswerError: the time was over.
            psycopg2.Error: what the driver raised.
        """
        if self._closed:
            raise DatabaseClosedError(_CLOSED)
        job = _Job(fn)
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._work, job)
        try:
            await asyncio.wait({future}, timeout=seconds)
        finally:
            if not future.done():
                future.cancel()
                self._abandon(job)
        if future.cancelled():
            if self._closed:
                raise DatabaseClosedError(_CLOSED)
            raise NoAnswerError(f"PostgreSQL no respondió en {seconds:g} s")
        return future.result()

    async def close(self, seconds: float = 1.0) -> None:
        """Take no more work, wait for what is in hand, cut off what stays. Idempotent."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._discard_idle()
        if await self._drained(seconds):
            return
        with self._lock:
            _LOG.warning(
                "PostgreSQL: %d consulta(s) en curso al cerrar; se cortan", len(self._busy)
            )
            for link in self._busy:
                link.cut()
        await self._drained(CUT_WAIT_SECONDS)

    async def _drained(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # Threads end this, not tasks: there is no event of the loop to wait for.
        while self._busy and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return not self._busy

    def _abandon(self, job: _Job[Any]) -> None:
        with self._lock:  # so that the connection is this job's still
            job.abandoned = True
            if job.link is not None:
                job.link.cut()

    def _work(self, job: _Job[T]) -> T:
        link = self._take(job)
        try:
            result = job.fn(link.conn)
            link.conn.commit()
        except BaseException as exc:
            lost = _is_lost(exc)
            self._give_back(job, link, broken=lost or isinstance(exc, UNREACHABLE))
            if lost:
                raise psycopg2.OperationalError(str(exc)) from exc
            raise
        self._give_back(job, link, broken=False)
        return result

    def _take(self, job: _Job[Any]) -> Link:
        while (idle := self._take_idle(job)) is not None:
            if idle.alive():
                return idle
            self._give_back(job, idle, broken=True)
        return self._connect(job)

    def _connect(self, job: _Job[Any]) -> Link:
        conn: connection = psycopg2.connect(**self._params)
        try:
            link = Link(conn)
        except BaseException:
            conn.close()
            raise
        with self._lock:
            # Connecting can take seconds: nobody may want the work any more.
            wanted = not (self._closed or job.abandoned)
            if wanted:
                job.link = link
                self._busy.add(link)
        if not wanted:
            link.close()
            raise DatabaseClosedError(_CLOSED)
        return link

    def _take_idle(self, job: _Job[Any]) -> Link | None:
        with self._lock:
            if not self._idle or job.abandoned:
                return None
            job.link = link = self._idle.pop()
            self._busy.add(link)
            return link

    def _give_back(self, job: _Job[Any], link: Link, *, broken: bool) -> None:
        if not broken:
            try:
                link.conn.rollback()  # a no-op after a commit; ends what a fault left open
                link.conn.autocommit = False
            except psycopg2.Error:
                broken = True
        with self._lock:
            job.link = None
            self._busy.discard(link)
            keep = not (broken or job.abandoned or self._closed or link.conn.closed)
            if keep:
                self._idle.append(link)
        if not keep:
            link.close()

    def _discard_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
        for link in idle:
            link.close()


def _is_lost(fault: BaseException) -> bool:
    """Recognise a lost connection of which libpq tells no more than "an error"."""
    return type(fault) is psycopg2.DatabaseError and fault.pgcode is None
