"""Reads `eventos` without losing rows that become visible out of id order.

The position and its holes are values (`domain.holes`); this file has the statements. Nothing here
writes, locks or alters the table: a role with SELECT on it is enough.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.errors import DatabaseUnusableError
from ..domain.holes import (
    Hole,
    Position,
    Retired,
    after_locks,
    after_read,
    forget_retired,
    settled,
)
from ..domain.model import Fetched, RawEvent
from ..metrics import Metrics
from ..ports import StoredPosition
from ..settings import ReaderSettings
from .copied import SOURCE, UNASKED, copied, events_in, few
from .eventos_rows import ids_of, is_text, marked, position_before, ranges, with_payload
from .pg import PgSession
from .queries import fetch_row, fetch_value, prepared_value, query
from .sleep import Sleeper

log = logging.getLogger("corec.alert_manager.eventos")

SLEEP_ANSWER = 5.0  # seconds
PROBE_INTERVAL = 60.0  # seconds between probes of retired holes
RETIRED_FOR = 24 * 3600.0  # seconds
MAX_RETIRED = 1000  # ranges
MANY_HOLES = 1000  # ranges; each poll and each commit carries them
BOUNDS_INTERVAL = 5.0  # seconds between looks whether the newest row is still there
RESTORE_MARGIN = 3600.0  # seconds; more than any two clocks of writers and ours differ
START_SPAN = 10_000  # ids below a first start's position that are searched for holes


class EventosReader:
    """Polls `eventos`, and sleeps until a writer wakes it. Its session must be in autocommit."""

    source = SOURCE
    reads_ahead = True

    def __init__(
        self,
        session: PgSession,
        channels: Sequence[str],
        max_bytes: int,
        settings: ReaderSettings,
        metrics: Metrics,
    ) -> None:
        self._session = session
        self._metrics = metrics
        self._settings = settings
        self._arguments = {
            "channels": list(channels),
            "max_bytes": max_bytes,
            "batch_bytes": settings.page_bytes,
            "limit": settings.batch_size,
            "only": None,
        }
        self._prepared_for = -1
        self._is_text = False  # `datos`
        self._is_busy = False  # the last look found a full page
        self._probed_at = float("-inf")
        self._bounds_at = float("-inf")
        self._warned_at = float("-inf")
        self._sleeper = Sleeper(settings.poll_interval)
        self._ahead: tuple[Position, Fetched[Position]] | None = None  # what ended a sleep
        self._woken = False

    def decode(self, stored: StoredPosition) -> Position:
        """Returns the position that was stored as this JSON."""
        return Position.from_json(stored)

    async def check(self) -> None:
        """Asks whether events can be read here; who only asks is not woken by writers.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
            DatabaseUnusableError: no table, no right to read it, or a standby.
        """

        def work(connection: Connection) -> None:
            self._prepare(connection)
            self._sleeper.stop_listening(connection)

        await self._session.run(work)

    async def first_position(self) -> Position:
        """Returns where a first start begins, with the holes that are open just below it.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        return await self._session.run(self._first_position)

    async def fetch(self, position: Position) -> Fetched[Position]:
        """Reads the next rows; none means that nothing new is visible.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is position:
            return ahead[1]
        return await self._session.run(lambda c: self._fetch(c, position))

    def part(self, before: Position, fetched: Fetched[Position], count: int) -> Position:
        """Returns the position after the first `count` rows of a fetch that began at `before`."""
        events = fetched.events[:count]
        return marked(
            after_read(before, ids_of(events), fetched.position.seen, complete=False),
            events[-1].event_id,
            events[-1].timestamp,
        )

    async def committed(self, position: Position) -> None:
        """Does nothing: `eventos` is not ours to write to."""

    async def sleep(self, position: Position, seconds: float) -> None:
        """Sleeps until a writer wakes us, `wake` is called, or `seconds` have passed.

        If it is a few rows that end it, they are read at once, for the next `fetch`: another call
        would take longer than reading them.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        self._ahead, self._woken = None, False

        def work(connection: Connection) -> Fetched[Position] | None:
            self._prepare(connection)
            news = {"after": position.hi, **ranges(position.holes)}
            self._sleeper.sleep(connection, seconds, news)
            plain = not self._woken and self._is_plain(position)
            return self._fetch(connection, position) if plain else None

        # Around the sleep there are only statements that take no time, and new rows, which `fetch`
        # reads if this is cut: a server that takes longer over them is silent.
        found = await self._session.run(work, limit=seconds + SLEEP_ANSWER)
        # Who woke us wants to know what is there now, and not what was there a moment ago.
        self._ahead = None if found is None or self._woken else (position, found)

    def wake(self) -> None:
        """Ends a sleep at once; safe from any thread."""
        self._woken = True
        self._sleeper.wake()

    def close(self) -> None:
        """Call it when nothing sleeps any more."""
        self._sleeper.close()

    def _prepare(self, connection: Connection) -> None:
        """Looks once per connection where we are, what type `datos` has, and who can wake us."""
        if self._prepared_for == self._session.generation:
            return
        with connection.cursor() as cursor:
            self._check_server(cursor)
            self._is_text = is_text(cursor)
        self._sleeper.prepare(connection)
        self._prepared_for = self._session.generation

    def _check_server(self, cursor: Cursor) -> None:
        standby, cached_ids = fetch_row(cursor, "eventos_server") or (False, None)
        if standby:
            raise DatabaseUnusableError(
                "corec_db es una réplica (standby): no muestra qué transacciones del primario "
                "siguen abiertas y se perderían eventos; apunta COREC_DB_DSN al primario"
            )
        if cached_ids is not None and cached_ids > 1:
            log.warning(
                "la secuencia de eventos.id reparte bloques de %d ids: lo que una sesión escriba "
                "con un id que guardó más de 24 h, o tras otros %d bloques, no se encuentra. "
                "Ejecuta ALTER SEQUENCE eventos_id_seq CACHE 1",
                cached_ids,
                MAX_RETIRED,
            )

    def _first_position(self, connection: Connection) -> Position:
        since = self._settings.start().threshold(time.time())
        if since is None:
            return Position(0)
        with connection.cursor() as cursor:
            position = position_before(cursor, since)
            cursor.execute(query("eventos_gaps"), {"hi": position.hi, "span": START_SPAN})
            return replace(position, holes=tuple(Hole(lo, last) for lo, last in cursor))

    def _is_plain(self, position: Position) -> bool:
        """Says whether a look is for new rows alone: what comes of it may be dropped."""
        now = time.monotonic()
        looks = now - self._probed_at < PROBE_INTERVAL and now - self._bounds_at < BOUNDS_INTERVAL
        return looks and not position.holes and not self._is_busy

    def _fetch(self, connection: Connection, position: Position) -> Fetched[Position]:
        self._prepare(connection)
        now = time.time()
        holes: list[Hole | Retired] = [*position.holes]
        if time.monotonic() - self._probed_at >= PROBE_INTERVAL:
            self._probed_at = time.monotonic()
            if len(position.retired) > MAX_RETIRED:
                log.warning(
                    "más de %d huecos sin dueño en eventos en un día: los más viejos se olvidan",
                    MAX_RETIRED,
                )
            position = forget_retired(position, now - RETIRED_FOR, MAX_RETIRED)
            holes += position.retired
        with connection.cursor() as cursor:
            filled = self._read_holes(cursor, holes)
            complete = not self._was_cut(filled)
            rows, mark = self._read_new(cursor, position.hi) if complete else ([], UNASKED)
            self._count_late(position.retired, filled)
            ids = ids_of((*filled, *rows))
            if complete and self._is_truncated(cursor, position, bool(rows), mark):
                return self._start_again(cursor, position)
            moved = after_read(position, ids, now, complete)
            if rows:
                moved = marked(moved, rows[-1].event_id, rows[-1].timestamp)
            if moved.holes:
                # Strictly after the rows were read: a writer that ends in between still counts as
                # an owner of its hole, and is found gone one poll later.
                cursor.execute(query("eventos_writers"))
                moved = after_locks(moved, frozenset(row[0] for row in cursor))
                self._warn_of_holes(len(moved.holes))
        if ids:
            self._sleeper.busy()
        more = not complete or self._was_cut(rows)
        return Fetched((*filled, *rows), moved, more, settled=settled(moved, now))

    def _count_late(self, retired: Sequence[Retired], rows: Sequence[RawEvent]) -> None:
        late = sum(any(hole.lo <= one <= hole.hi for hole in retired) for one in ids_of(rows))
        if late:
            self._metrics.late_rows.inc(late)

    def _warn_of_holes(self, count: int) -> None:
        if count > MANY_HOLES and time.monotonic() - self._warned_at > PROBE_INTERVAL:
            self._warned_at = time.monotonic()
            log.warning(
                "%d huecos abiertos en eventos: ¿una transacción larga, o preparada y olvidada? "
                "Míralo en pg_stat_activity y pg_prepared_xacts",
                count,
            )

    def _is_truncated(self, cursor: Cursor, position: Position, news: bool, mark: Any) -> bool:
        """Says whether the newest row that was read is gone; without news, asks now and then.

        `mark`: its time now, or `UNASKED`.
        """
        if not news and time.monotonic() - self._bounds_at < BOUNDS_INTERVAL:
            return False
        self._bounds_at = time.monotonic()
        if position.mark is None:
            return int(fetch_value(cursor, "eventos_bounds")) < position.hi
        # An emptied table may have handed our id out again, and more: only its time tells.
        if mark is UNASKED:
            mark = prepared_value(cursor, "eventos_mark", {"hi": position.hi})
        return bool(mark != position.mark)

    def _start_again(self, cursor: Cursor, position: Position) -> Fetched[Position]:
        """Returns where to read on in a table that was emptied or restored.

        Its ids may have begun anew, so that they prove nothing; rows that are older than our last
        look by a margin were judged. What is read twice is counted as a repeat of itself.
        """
        moved = position_before(cursor, max(0.0, position.seen - RESTORE_MARGIN))
        what = f"La tabla eventos: se había leído hasta el id {position.hi}"
        return Fetched((), moved, more=True, anew=what)

    def _was_cut(self, rows: Sequence[RawEvent]) -> bool:
        """Says whether a limit may have cut the page off; a page near the byte limit counts too."""
        fetched = sum(row.size for row in rows if row.payload is not None)
        settings = self._settings
        return len(rows) >= settings.batch_size or fetched > settings.page_bytes // 2

    def _read_holes(self, cursor: Cursor, holes: Sequence[Hole | Retired]) -> list[RawEvent]:
        return self._read(cursor, "eventos_holes", ranges(holes)) if holes else []

    def _read_new(self, cursor: Cursor, hi: int) -> tuple[list[RawEvent], Any]:
        """Returns the rows after an id, and the time of that one, or `UNASKED`."""
        if not self._is_busy:  # nearly always there are a few, if any
            found = few(cursor, {**self._arguments, "hi": hi}, self._is_text)
            if found is not None:
                return found
        rows = self._read(cursor, "eventos_rows", {"hi": hi})
        self._is_busy = self._was_cut(rows)  # and much is left
        return rows, UNASKED

    def _read(self, cursor: Cursor, name: str, where: Mapping[str, int | str]) -> list[RawEvent]:
        statement = with_payload(name, self._is_text)
        return events_in(copied(cursor, statement, {**self._arguments, **where}), self._is_text)
