"""alert_db: the position, and the one transaction that stores what a batch came to."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.errors import (
    DatabaseUnusableError,
    RefusedError,
    StaleReaderError,
    StaleThresholdsError,
)
from ..domain.model import StateKey, States
from ..domain.outcome import Committed, Judged
from ..domain.silences import Silences
from ..domain.thresholds import StoredThresholds
from ..ports import Moved, StoredPosition
from .commit import LOCK_CLASS, insert_dead_letters, store, take_dead_letters
from .pg import PgSession
from .queries import alone, execute_prepared, prepared_value, query, row_of, row_or_none
from .silences import load_silences
from .states import forget_states, judged_until, load_due, load_states, resolve, store_states
from .thresholds import load_thresholds, store_changes

log = logging.getLogger("corec.alert_manager.db")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Backend:
    """The server process that holds a lead, and our session's generation on it."""

    generation: int
    pid: int
    start: str


class AlertStore:
    """Reads and writes alert_db; its session holds the lead too: they are lost together."""

    def __init__(self, session: PgSession, instance: str, schema: Path) -> None:
        self._session = session
        self._schema = schema
        self.instance = instance
        self._leading: dict[str, _Backend] = {}

    @property
    def failed_at(self) -> float:
        """When a call to alert_db last came to nothing (monotonic)."""
        return self._session.failed_at

    async def prepare(self) -> None:
        """Makes the tables where they are missing.

        Raises:
            DatabaseUnusableError: the role may not; says what to run.
            DatabaseUnavailableError: alert_db does not answer.
        """
        if await self._session.run(lambda c: bool(row_of(c, "schema_exists")[0])):
            return

        def install(connection: Connection) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute(self._schema.read_text(encoding="utf-8"))

        try:
            await self._session.run(install)
        except DatabaseUnusableError:
            raise DatabaseUnusableError(
                "alert_db no tiene sus tablas y este rol no puede crearlas; su dueño ejecuta: "
                f"psql -d alert_db -f {self._schema}"
            ) from None
        log.info("alert_db no tenía tablas: creadas")

    def leads(self, source: str) -> bool:
        """Says whether the connection on which the lead was taken still seems to live."""
        backend = self._leading.get(source)
        return (
            backend is not None
            and self._session.connected
            and backend.generation == self._session.generation
        )

    async def take_lead(self, source: str) -> bool:
        """Takes the lead for a source, for as long as this session's connection lives.

        Raises:
            DatabaseUnavailableError: alert_db does not answer.
        """
        before = self._leading.get(source)
        arguments = {"key": LOCK_CLASS, "source": source}

        def work(connection: Connection) -> tuple[bool, int, str]:
            leading, pid, start = row_of(connection, "try_lead", arguments)
            if not leading and before is not None:
                row_or_none(connection, "end_backend", {"pid": before.pid, "start": before.start})
            return leading, pid, start

        leading, pid, start = await self._session.run(work)
        if leading:
            self._leading[source] = _Backend(self._session.generation, pid, start)
        return leading

    async def release_lead(self, source: str) -> None:
        """Lets another instance have the lead; does nothing where it is not ours.

        Raises:
            DatabaseUnavailableError: alert_db does not answer; the lead went with the connection.
        """
        if not self.leads(source):
            return  # and remember whom to end, should a cut network leave the lock with the dead
        arguments = {"key": LOCK_CLASS, "source": source}

        def work(connection: Connection) -> None:
            # It may have been taken more than once: a call whose caller went took it, too.
            while row_of(connection, "release_lead", arguments)[0]:
                pass

        await self._session.run(work)
        self._leading.pop(source, None)

    async def confirm(self, moved: Moved) -> bool:
        """Leaves a sign of life, and how far a source is read, which is no new version of it.

        Returns False when the stored position is not the one that we went on from.

        Raises:
            DatabaseUnavailableError: alert_db does not answer.
        """
        arguments = self._moved_arguments(moved)

        def confirm(cursor: Cursor) -> bool:
            cursor.execute(query("position_confirm"), arguments)
            return cursor.rowcount == 1

        return await self._ask(confirm)

    async def last_sign(self, source: str) -> tuple[str, float] | None:
        """Returns which instance last gave a sign of life as reader, and seconds since then.

        Raises:
            DatabaseUnavailableError: alert_db does not answer.
        """
        row = await self._session.run(lambda c: row_or_none(c, "position_age", {"source": source}))
        return None if row is None else (str(row[0]), float(row[1]))

    async def load_position(self, source: str) -> tuple[StoredPosition, int] | None:
        """Returns the position of a source and its version, or None before its first start."""
        row = await self._session.run(lambda c: row_or_none(c, "position_get", {"source": source}))
        return None if row is None else (row[0], int(row[1]))

    async def create_position(self, source: str, position: StoredPosition) -> None:
        """Stores the first position of a source, unless somebody else already did."""
        arguments = self._position_arguments(source, position)
        await self._session.run(lambda c: c.cursor().execute(query("position_create"), arguments))

    async def load_states(self, keys: Collection[StateKey]) -> States:
        """Returns what rules remember of these keys; those with nothing stored are left out."""
        return await self._ask(lambda cursor: load_states(cursor, keys))

    async def load_thresholds(self) -> StoredThresholds:
        """Returns the newest change of each threshold."""
        return await self._ask(lambda cursor: load_thresholds(cursor))

    async def load_silences(self) -> Silences:
        """Returns the silences that count now, or will."""
        return await self._ask(load_silences)

    async def judged_until(self, silence: float, but: str | None = None) -> float:
        """Returns the moment up to which everything is judged (epoch seconds), in all sources.

        In all but one, where one is named. A source that nobody read for `silence` seconds is not
        waited for; infinity: there is none.
        """
        return await self._ask(lambda cursor: judged_until(cursor, silence, but))

    async def load_due(
        self, rules: Collection[str], until: float, after: StateKey | None, limit: int
    ) -> States:
        """Returns a page of the states whose deadline is no later than `until`, by their keys."""
        return await self._ask(lambda cursor: load_due(cursor, rules, until, after, limit))

    async def forget_states(self, but: Collection[str]) -> None:
        """Forgets what was remembered by names that are none any more."""
        await self._session.run(lambda connection: forget_states(connection, but))

    async def commit(
        self,
        judged: Judged,
        moved: Moved | None = None,
        cached: Mapping[bytes, tuple[int, float]] | None = None,
    ) -> Committed:
        """Stores alerts, repeats, notifications, dead letters and the position, all or nothing.

        Args:
            judged: what the batch came to.
            moved: the source's position after the batch; None moves none.
            cached: alerts by fingerprint as the cache knows them; only a hint, never trusted.

        Raises:
            StaleReaderError: the version is not the stored one.
            StaleStateError: what a rule remembers was changed by another source's reader.
            StaleThresholdsError: a threshold was changed.
            StaleSilencesError: a silence was added, or is over.
            DatabaseUnavailableError: alert_db went away; the position tells what it stored.
        """

        def work(connection: Connection) -> Committed:
            with connection, connection.cursor() as cursor:
                if moved is not None:
                    self._move(cursor, moved, judged.thresholds)
                else:
                    _check_thresholds(cursor, judged.thresholds)
                if judged.revived:
                    take_dead_letters(cursor, judged.revived)
                insert_dead_letters(cursor, judged.dead_letters)
                store_states(cursor, judged.states)
                if judged.changes:  # one after the other: each names what was before
                    # After the rows, as in every commit, so that no two wait for each other.
                    cursor.execute(query("serialise_commits"), {"key": LOCK_CLASS})
                    _check_thresholds(cursor, judged.thresholds)
                    store_changes(cursor, judged.changes)
                committed = Committed(dead_letters=len(judged.dead_letters))
                if judged.candidates:
                    committed = store(cursor, judged, cached or {})
                over = resolve(cursor, judged.resolutions)
                return replace(committed, channels=committed.channels | over)

        return await self._session.run(work)

    async def check_thresholds(self, judged: Judged) -> None:
        """Asks whether a batch was judged by what thresholds are.

        Raises:
            StaleThresholdsError: one was changed.
            DatabaseUnavailableError: alert_db does not answer.
        """
        await self._ask(lambda cursor: _check_thresholds(cursor, judged.thresholds))

    async def refusal(self, judged: Judged) -> RefusedError | None:
        """Tries to store and takes it back; returns why the database refused, or None.

        Raises:
            DatabaseUnavailableError: alert_db does not answer.
        """

        def work(connection: Connection) -> None:
            with connection, connection.cursor() as cursor:
                store(cursor, judged, {})
                connection.rollback()

        try:
            await self._session.run(work)
        except RefusedError as error:
            return error
        return None

    async def _ask(self, question: Callable[[Cursor], T]) -> T:
        def work(connection: Connection) -> T:
            with alone(connection), connection.cursor() as cursor:
                return question(cursor)

        return await self._session.run(work)

    def _move(self, cursor: Cursor, moved: Moved, thresholds: int | None) -> None:
        arguments = self._moved_arguments(moved)
        execute_prepared(cursor, "position_move", {**arguments, "thresholds": thresholds})
        if cursor.rowcount != 1:
            _check_thresholds(cursor, thresholds)
            raise StaleReaderError(f"otra instancia lee ya {moved.source}")

    def _moved_arguments(self, moved: Moved) -> dict[str, Any]:
        where = self._position_arguments(moved.source, moved.position)
        return {**where, "version": moved.version, "caught_up": moved.caught_up}

    def _position_arguments(self, source: str, position: StoredPosition) -> dict[str, Any]:
        return {
            "source": source,
            "position": json.dumps(position),
            "instance": self.instance,
        }


def _check_thresholds(cursor: Cursor, version: int | None) -> None:
    if version is not None and version != prepared_value(cursor, "thresholds_version"):
        raise StaleThresholdsError("un umbral cambió mientras se juzgaba")
