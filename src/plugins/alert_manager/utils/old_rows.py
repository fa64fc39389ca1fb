"""What became older than alert_db's retention: found and deleted, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.errors import NotNowError
from ..retention import Swept
from .commit import LOCK_CLASS
from .pg import PgSession
from .queries import fetch_row, fetch_value, query

_LOCK = {"key": LOCK_CLASS, "object": 2}


class TurnLostError(NotNowError):
    """The connection that held our turn is gone: somebody else may sweep by now."""


class _Page(NamedTuple):
    swept: Swept
    after: Any
    more: bool


class OldRows:
    """Sweeps alert_db in a session of its own; one instance at a time.

    Every call may raise what `PgSession.run` raises. A piece is one transaction: one that is cut
    off has deleted nothing.

    Args:
        session: with alert_db.
        seconds: the retention.
        forgettable: rules whose memory is spent once nothing was added to it for as long.
        lasting: names of alerts that are open until somebody says that they are over.
    """

    def __init__(
        self,
        session: PgSession,
        seconds: float,
        forgettable: Collection[str],
        lasting: Collection[str] = (),
    ) -> None:
        self._session = session
        self._old = {"seconds": seconds}
        self._forgettable = list(forgettable)
        self._turn: int | None = None
        self._stages = (self._states, self._alerts, self._dead_letters, self._small)
        self._stage = 0
        self._after: Any = None
        self._always = dict.fromkeys(lasting, 0.0)
        self._lasting = dict(self._always)

    async def take_turn(self) -> bool:
        """Begins a round; False while another instance is at it."""

        def work(connection: Connection) -> bool:
            with connection.cursor() as cursor:
                return bool(fetch_value(cursor, "retention_take", _LOCK))

        self._stage, self._after, self._lasting = 0, None, dict(self._always)
        taken = await self._session.run(work)
        self._turn = self._session.generation if taken else None
        return taken

    async def give_turn_back(self) -> None:
        """Ends the round; without a connection there is nothing to give back."""
        if self._turn is None:
            return
        turn, self._turn = self._turn, None

        def work(connection: Connection) -> None:
            with connection.cursor() as cursor:
                if turn == self._session.generation:
                    fetch_value(cursor, "retention_release", _LOCK)

        await self._session.run(work)

    async def sweep(self, rows: int) -> Swept | None:
        """Looks at the next `rows` rows, and deletes what is old; None: the round is over.

        Raises:
            TurnLostError: the connection was lost since the round began.
        """
        if self._stage >= len(self._stages):
            return None
        stage, after = self._stages[self._stage], self._after

        def work(connection: Connection) -> _Page:
            if self._turn != self._session.generation:
                raise TurnLostError("se cortó la conexión mientras se borraba lo antiguo")
            with connection.cursor() as cursor:
                cursor.execute(query("retention_relax"))
                return stage(cursor, after, rows)

        page = await self._session.run(work)
        self._after = page.after if page.more else None
        self._stage += not page.more
        return page.swept

    def _states(self, cursor: Cursor, after: Any, rows: int) -> _Page:
        rule, key = after or ("", "")
        values = {
            "forgettable": self._forgettable,
            "rule": rule,
            "key": psycopg2.Binary(bytes.fromhex(key)),
        }
        last, more, gone, lasting = self._row(cursor, "rule_states_old", values, rows)
        for name, since in lasting.items():
            self._lasting[name] = min(since, self._lasting.get(name, since))
        return _Page(Swept({"rule_states": gone}), last, more)

    def _alerts(self, cursor: Cursor, after: Any, rows: int) -> _Page:
        lasting = {"rules": list(self._lasting), "since": list(self._lasting.values())}
        values = {**lasting, "after": after or 0}
        last, more, waiting, ids = self._row(cursor, "alerts_old", values, rows)
        gone: dict[str, int] = {}
        if ids:
            cursor.execute(query("alerts_lock"), {**self._old, **lasting, "ids": ids})
            held = [row[0] for row in cursor]
            names = ("alerts", "notifications", "deliveries", "alert_history")
            counts = fetch_row(cursor, "alerts_delete", {"ids": held}) or ()
            gone = dict(zip(names, counts, strict=True))
        return _Page(Swept(gone, waiting), last, bool(more))

    def _dead_letters(self, cursor: Cursor, after: Any, rows: int) -> _Page:
        last, more, gone = self._row(cursor, "dead_letters_old", {"after": after or 0}, rows)
        return _Page(Swept({"dead_letters": gone}), last, bool(more))

    def _small(self, cursor: Cursor, _: Any, rows: int) -> _Page:
        """Sweeps the tables that stay small: what a page leaves, the next round finds."""
        gone = {}
        for table in ("threshold_changes", "silences", "told_ahead"):
            cursor.execute(query(f"{table}_old"), {**self._old, "limit": rows})
            gone[table] = cursor.rowcount
        return _Page(Swept(gone), None, more=False)

    def _row(
        self, cursor: Cursor, name: str, values: Mapping[str, Any], rows: int
    ) -> tuple[Any, ...]:
        found = fetch_row(cursor, name, {**self._old, **values, "limit": rows})
        if found is None:
            raise LookupError(f"{name} returned no row")
        return found
