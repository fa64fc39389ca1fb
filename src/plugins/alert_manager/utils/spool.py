"""What is told while alert_db does not answer, and what is stored when it does again."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..domain.model import RawEvent
from ..domain.outcome import Candidate
from ..ports import StoredPosition
from ..untold import Untold
from .channels.registry import REPORT_CHANNELS
from .spool_file import SpoolFile, rows, statement
from .spooled import StoredAlert, Told, decoded

_MOST = 100_000  # alerts; what is beyond is told when alert_db is back
_PAGE = 1000  # messages that are handed in at once: 0.1 s
HELD = float("inf")
"""Until when a message is held that is being sent."""


class Spool:
    """Alerts that are told ahead of alert_db, and events that only we have.

    Every asynchronous call may raise `SpoolUnusableError`.
    """

    def __init__(self, file: SpoolFile, untold: Untold) -> None:
        self.file = file
        self.untold = untold
        self.waiting: Counter[str] = Counter()
        """Messages to be told, by channel."""
        self.held: dict[int, tuple[str, float]] = {}
        """Messages that are not to be sent now: their channel, and until when (monotonic).

        Changed in the file's thread alone, together with the rows.
        """
        self.unreported = False
        """True where alert_db has to hear what was told."""
        self._leftovers = False

    async def open(self) -> None:
        """Takes up what an earlier run left; makes no file."""
        if not self.file.path.exists():
            return

        def work(connection: sqlite3.Connection) -> None:
            self.recount(connection)
            self.unreported = self._leftovers = bool(rows(connection, "count_alerts")[0][0])
            self._leftovers = self._leftovers or bool(rows(connection, "events"))

        await self.file.run(work)

    async def add(self, candidates: Sequence[Candidate], road: str, own: bool = False) -> set[str]:
        """Stores alerts that are no repeats; returns the channels that have something to tell.

        Args:
            candidates: to be told to their `targets`.
            road: the source that will bring them again.
            own: no source will: they are to be stored in alert_db from here.
        """

        def work(connection: sqlite3.Connection) -> set[str]:
            room = _MOST - int(rows(connection, "count_alerts")[0][0])
            added: set[str] = set()
            for candidate in candidates:
                key = {
                    "fingerprint": candidate.fingerprint,
                    "timestamp": candidate.timestamp,
                    "window": candidate.window,
                }
                known = rows(connection, "known", key)
                if known and known[0][1] != candidate.timestamp:
                    continue  # a repeat
                if not known:
                    if room <= 0:
                        continue
                    room -= 1
                number = known[0][0] if known else _insert(connection, candidate, key, road, own)
                added |= _queue(connection, candidate, number)
            self.recount(connection)
            return added

        channels = await self.file.run(work)
        self._leftovers = True
        return channels

    async def told(self, after: int) -> list[Told]:
        """Returns what channels have taken and alert_db has not heard of; a page of it.

        `after`: the number of the last message of the page before; 0: there was none.
        """
        page = {"after": after, "limit": _PAGE}
        found = await self.file.run(lambda connection: rows(connection, "unreported", page))
        return [Told(*row) for row in found]

    async def reported(self, told: Iterable[Told]) -> None:
        """Hears that alert_db knows of these."""
        ids = json.dumps([one.number for one in told])
        await self.file.run(lambda connection: rows(connection, "report", {"ids": ids}))

    async def drop_waiting(self) -> None:
        """Forgets what is not being told just now: alert_db is back, and takes care of it."""
        if not self.waiting.total():
            return

        def work(connection: sqlite3.Connection) -> None:
            for number, (_, until) in list(self.held.items()):
                if until != HELD:
                    del self.held[number]
            rows(connection, "drop_waiting", {"held": json.dumps(list(self.held))})
            rows(connection, "drop_untold")
            self.recount(connection)

        await self.file.run(work)

    async def clear(self, road: str) -> None:
        """Forgets alerts of a source: alert_db has all that it brought."""
        if not self._leftovers:
            return

        def work(connection: sqlite3.Connection) -> None:
            rows(connection, "clear", {"road": road})
            self._leftovers = any(rows(connection, "count_alerts")[0]) or bool(
                rows(connection, "events")
            )

        await self.file.run(work)

    async def own(self) -> list[tuple[int, Candidate]]:
        """Returns alerts that are to be stored from here, by their numbers; a page of them."""
        if not self._leftovers:
            return []
        found = await self.file.run(lambda connection: rows(connection, "own"))
        return [
            (number, decoded(alert).candidate(msgspec.json.decode(data)))
            for number, alert, data in found
        ]

    async def forget_own(self, number: int) -> None:
        """Hears that an alert is stored; `clear` forgets it when nobody is being told any more."""
        await self.file.run(lambda connection: rows(connection, "forget_own", {"id": number}))

    async def keep(self, event: RawEvent) -> None:
        """Stores an event that no source will bring again.

        Raises:
            TypeError: it holds what cannot be stored.
        """
        # Not as JSON: a payload may hold bytes, and keys that are no text.
        values = {"id": event.event_id, "event": msgspec.msgpack.encode(_fields(event))}
        await self.file.run(lambda connection: rows(connection, "keep_event", values))
        self._leftovers = True

    async def events(self) -> list[RawEvent]:
        """Returns events that are to be judged and stored; a page of them."""
        if not self._leftovers:
            return []
        found = await self.file.run(lambda connection: rows(connection, "events"))
        return [RawEvent(*msgspec.msgpack.decode(fields)) for _, fields in found]

    async def forget_event(self, event: RawEvent) -> None:
        """Forgets an event that is judged and stored."""
        arguments = {"id": event.event_id}
        await self.file.run(lambda connection: rows(connection, "forget_event", arguments))

    async def save_position(self, source: str, position: StoredPosition) -> None:
        """Remembers where reading a source stood, should alert_db be away at the next start."""
        values = {"source": source, "position": json.dumps(position)}
        await self.file.run(lambda connection: rows(connection, "save_position", values))

    async def forget_position(self, source: str) -> None:
        """Forgets where it stood: another instance reads it."""
        await self.file.run(lambda c: rows(c, "forget_position", {"source": source}))

    async def position(self, source: str) -> StoredPosition | None:
        """Returns where reading a source last stood, or None."""
        if not self.file.path.exists():
            return None
        found = await self.file.run(
            lambda connection: rows(connection, "position", {"source": source})
        )
        return json.loads(found[0][0]) if found else None

    def recount(self, connection: sqlite3.Connection) -> None:
        """Counts what is waiting; in the file's thread."""
        self.waiting = Counter(dict(rows(connection, "count_waiting")))

    def has_due(self, channel: str) -> bool:
        """Says whether a channel has something to tell from here now."""
        if self.waiting[channel] <= 0:
            return False
        now = time.monotonic()
        held = sum(name == channel and until > now for name, until in list(self.held.values()))
        return self.waiting[channel] > held


def _insert(
    connection: sqlite3.Connection,
    candidate: Candidate,
    key: Mapping[str, Any],
    road: str,
    own: bool,
) -> int:
    alert = msgspec.json.encode(StoredAlert.of(candidate)).decode()
    severity = int(candidate.severity)
    data = msgspec.json.encode(candidate.event_data).decode()
    values = {**key, "severity": severity, "alert": alert, "event_data": data}
    values |= {"own": int(own), "road": road}
    rows(connection, "add_alert", values)
    return int(rows(connection, "last_alert")[0][0])


def _queue(connection: sqlite3.Connection, candidate: Candidate, number: int) -> set[str]:
    """Adds the messages of an alert that are not there; returns their channels."""
    added = set()
    for channel in candidate.targets:
        if channel in REPORT_CHANNELS:  # they tell programs of what is stored
            continue
        message = {"alert": number, "channel": channel, "severity": int(candidate.severity)}
        if connection.execute(statement("add_message"), message).rowcount:
            added.add(channel)
    return added


def _fields(event: RawEvent) -> tuple[Any, ...]:
    return tuple(getattr(event, name) for name in RawEvent.__struct_fields__)
