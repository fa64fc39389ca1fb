"""Reads `eventos` without losing rows that become visible out of id order.

The position and its holes are values (`domain.holes`); this file has the statements. Nothing here
writes, locks or alters the table: a role with SELECT on it is enough.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.errors import DatabaseUnusableError
from ..domain.holes import Hole, Position, Retired, after_locks, after_read, forget_retired
from ..domain.model import Fetched, RawEvent
from ..settings import ReaderSettings
from .pg import CALL_TIMEOUT, PgSession
from .queries import query

log = logging.getLogger("corec.alert_manager.eventos")

WAKE_CHANNEL = "corec_eventos"
# configs/core/schema.sql: its trigger notifies only while somebody holds this lock exclusively.
SLEEP_LOCK = {"class": 0x636F7265, "object": 1}
PROBE_INTERVAL = 60.0  # seconds between probes of retired holes
RETIRED_FOR = 24 * 3600.0  # seconds
MAX_RETIRED = 1000  # ranges
BOUNDS_INTERVAL = 5.0  # seconds between looks whether the newest row is still there
RESTORE_MARGIN = 3600.0  # seconds; more than any two clocks of writers and ours differ
START_SPAN = 10_000  # ids below a first start's position that are searched for holes
_FIRST_PAUSE = 0.002  # seconds


class EventosReader:
    """Polls `eventos`, and sleeps until a writer wakes it. Its session must be in autocommit."""

    def __init__(
        self, session: PgSession, channels: Sequence[str], max_bytes: int, settings: ReaderSettings
    ) -> None:
        self._session = session
        self._settings = settings
        self._arguments = {
            "channels": list(channels),
            "max_bytes": max_bytes,
            "batch_bytes": settings.batch_bytes,
            "limit": settings.batch_size,
        }
        self._prepared_for = -1
        self._listening_for = -1
        self._payload = "datos"
        self._has_trigger = False
        self._probed_at = float("-inf")
        self._bounds_at = float("-inf")
        self._pause = _FIRST_PAUSE
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    async def check(self) -> None:
        """Asks whether events can be read here; who only asks is not woken by writers.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
            DatabaseUnusableError: no table, no right to read it, or a standby.
        """

        def work(connection: Connection) -> None:
            self._prepare(connection)
            if self._listening_for == self._session.generation:
                # Notifications that nobody fetches would pile up, here and in the server.
                connection.cursor().execute(f"UNLISTEN {WAKE_CHANNEL}")
                self._listening_for = -1

        await self._session.run(work)

    async def first_position(self) -> Position:
        """Returns where a first start begins, with the holes that are open just below it.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        return await self._session.run(self._first_position)

    async def fetch(self, position: Position) -> Fetched:
        """Reads the next rows; none means that nothing new is visible.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        return await self._session.run(lambda c: self._fetch(c, position))

    async def sleep(self, position: Position, seconds: float) -> None:
        """Sleeps until a writer wakes us, `wake` is called, or `seconds` have passed.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        await self._session.run(
            lambda c: self._sleep(c, position, seconds), limit=seconds + CALL_TIMEOUT
        )

    def wake(self) -> None:
        """Ends a sleep at once; safe from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):  # full of calls already, or closed
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Closes the pipe; call it when nothing sleeps any more."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _prepare(self, connection: Connection) -> None:
        """Looks once per connection where we are, what type `datos` has, and who can wake us."""
        if self._prepared_for == self._session.generation:
            return
        with connection.cursor() as cursor:
            self._check_server(cursor)
            kind = _scalar(cursor, "eventos_payload_type")
            self._payload = "datos" if kind == "bytea" else "datos::text"
            self._has_trigger = bool(_scalar(cursor, "eventos_has_trigger"))
            if not self._has_trigger:
                log.info(
                    "la tabla eventos no tiene un disparador que avise: se consulta cada %g s",
                    self._settings.poll_interval,
                )
        self._prepared_for = self._session.generation

    def _check_server(self, cursor: Cursor) -> None:
        cursor.execute(query("eventos_server"))
        standby, cached_ids = cursor.fetchone() or (False, None)
        if standby:
            raise DatabaseUnusableError(
                "corec_db es una réplica (standby): no muestra qué transacciones del primario "
                "siguen abiertas y se perderían eventos; apunta COREC_DB_DSN al primario"
            )
        if cached_ids is not None and cached_ids > 1:
            log.warning(
                "la secuencia de eventos.id reparte bloques de %d ids: cada hueco se vigila hasta "
                "que termina su sesión; mejor ALTER SEQUENCE … CACHE 1",
                cached_ids,
            )

    def _first_position(self, connection: Connection) -> Position:
        now = time.time()
        since = self._settings.start().threshold(now)
        if since is None:
            return Position(0)
        with connection.cursor() as cursor:
            hi = int(_scalar(cursor, "eventos_bounds"))
            first = _scalar(cursor, "eventos_first_since", {"since": since, "now": now})
            hi = hi if first is None else int(first) - 1
            cursor.execute(query("eventos_gaps"), {"hi": hi, "span": START_SPAN})
            return Position(hi, tuple(Hole(lo, last) for lo, last in cursor))

    def _fetch(self, connection: Connection, position: Position) -> Fetched:
        self._prepare(connection)
        now = time.time()
        holes: list[Hole | Retired] = [*position.holes]
        if time.monotonic() - self._probed_at >= PROBE_INTERVAL:
            self._probed_at = time.monotonic()
            position = forget_retired(position, now - RETIRED_FOR, MAX_RETIRED)
            holes += position.retired
        with connection.cursor() as cursor:
            filled = self._read_holes(cursor, holes)
            complete = not self._was_cut(filled)
            rows = self._read_new(cursor, position.hi) if complete else []
            ids = [row[0] for row in (*filled, *rows)]
            if not rows and complete and self._is_truncated(cursor, position):
                return self._start_again(cursor, position)
            moved = after_read(position, ids, now, complete)
            if moved.holes:
                # Strictly after the rows were read: a writer that ends in between still counts as
                # an owner of its hole, and is found gone one poll later.
                cursor.execute(query("eventos_writers"))
                moved = after_locks(moved, frozenset(row[0] for row in cursor))
        if ids:
            self._pause = _FIRST_PAUSE
        events = tuple(_raw_event(row) for row in (*filled, *rows))
        return Fetched(events, moved, more=not complete or self._was_cut(rows))

    def _is_truncated(self, cursor: Cursor, position: Position) -> bool:
        """Says whether the newest row that was read is gone; asks now and then."""
        if time.monotonic() - self._bounds_at < BOUNDS_INTERVAL:
            return False
        self._bounds_at = time.monotonic()
        return int(_scalar(cursor, "eventos_bounds")) < position.hi

    def _start_again(self, cursor: Cursor, position: Position) -> Fetched:
        """Returns where to read on in a table that was emptied or restored.

        Its ids may have begun anew, so that they prove nothing; rows that are older than our last
        look by a margin were judged. What is read twice is counted as a repeat of itself.
        """
        since = max(0.0, position.seen - RESTORE_MARGIN)
        first = _scalar(cursor, "eventos_first_since", {"since": since, "now": time.time()})
        hi = int(_scalar(cursor, "eventos_bounds")) if first is None else int(first) - 1
        moved = Position(hi, seen=time.time())
        return Fetched((), moved, more=True, truncated_at=position.hi)

    def _was_cut(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Says whether a limit may have cut the page off; a page near the byte limit counts too."""
        fetched = sum(row[4] for row in rows if row[5] is not None)
        settings = self._settings
        return len(rows) >= settings.batch_size or fetched > settings.batch_bytes // 2

    def _read_holes(self, cursor: Cursor, holes: Sequence[Hole | Retired]) -> list[tuple[Any, ...]]:
        if not holes:
            return []
        cursor.execute(self._sql("eventos_holes"), {**self._arguments, **_ranges(holes)})
        return cursor.fetchall()

    def _read_new(self, cursor: Cursor, hi: int) -> list[tuple[Any, ...]]:
        cursor.execute(self._sql("eventos_rows"), {**self._arguments, "hi": hi})
        return cursor.fetchall()

    def _sql(self, name: str) -> str:
        return query(name).replace("{payload}", self._payload)

    def _sleep(self, connection: Connection, position: Position, seconds: float) -> None:
        self._prepare(connection)
        if not self._has_trigger:
            self._wait(connection, min(seconds, self._settings.poll_interval))
            return
        with connection.cursor() as cursor:
            if self._listening_for != self._session.generation:
                cursor.execute(f"LISTEN {WAKE_CHANNEL}")
                self._listening_for = self._session.generation
            if not _scalar(cursor, "eventos_try_sleep", SLEEP_LOCK):
                # A writer is at work and will not notify: look again soon, then less and less.
                self._wait(connection, min(seconds, self._pause))
                self._pause = min(self._pause * 2, self._settings.poll_interval)
                return
            try:
                # A writer that ended before the lock was ours did not notify: one look more.
                arguments = {"after": position.hi, **_ranges(position.holes)}
                if not _scalar(cursor, "eventos_any", arguments):
                    self._wait(connection, seconds)
            finally:
                with contextlib.suppress(psycopg2.Error):  # then the lock went with the connection
                    cursor.execute(query("eventos_wake"), SLEEP_LOCK)

    def _wait(self, connection: Connection, seconds: float) -> None:
        """Waits for `wake`, a notification, or the end of `seconds`."""
        # A notification may have come in with the answer to the last statement: it is in memory
        # then, and the socket would stay silent.
        if not connection.notifies:
            watched = [self._wake_read, connection.fileno()]
            ready, _, _ = select.select(watched, [], [], seconds)
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            connection.poll()
        connection.notifies.clear()


def _scalar(cursor: Cursor, name: str, arguments: dict[str, Any] | None = None) -> Any:
    cursor.execute(query(name), arguments)
    row = cursor.fetchone()
    return None if row is None else row[0]


def _ranges(holes: Sequence[Hole | Retired]) -> dict[str, list[int]]:
    return {"lo": [hole.lo for hole in holes], "hi": [hole.hi for hole in holes]}


def _raw_event(row: tuple[Any, ...]) -> RawEvent:
    event_id, channel, timestamp, instance_id, size, payload = row
    return RawEvent(
        source="eventos",
        event_id=event_id,
        channel=channel or "",
        payload=bytes(payload) if isinstance(payload, memoryview) else payload,
        timestamp=timestamp,
        instance_id=instance_id,
        size=size,
    )
