"""The spool as a queue of messages, for the workers of channels.

Waiting is counted on the monotonic clock and forgotten at a restart: at worst a message is tried
once too early.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from ..domain.delivery import AHEAD, Attempt, Message, Progress, Sent, reminder
from ..domain.model import Severity
from .queue import Again, Claim, Due, Waiting
from .spool import HELD, Spool
from .spool_file import rows
from .spooled import decoded


class SpoolQueue:
    """Hands out what is told ahead of alert_db. Every call may raise `SpoolUnusableError`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def now(self) -> float:
        """Returns the machine's time: there is no other one."""
        return time.time()

    async def claim(
        self, due: Due, limit: int, brief: bool = False, mark: str | None = None
    ) -> Claim | None:
        """Claims messages; none is too old: it is told as soon as it came, or by alert_db."""
        arguments = {**due._asdict(), "limit": limit, "brief": brief, "mark": mark}

        def work(connection: sqlite3.Connection) -> list[Message]:
            # Here: thousands of messages are not made while the event loop waits.
            found = rows(connection, "claim", {**arguments, "held": self._held(due.channel)})
            if len(found) == 1 and brief:  # it is told by itself, with its event
                found = rows(connection, "claimed", {"id": found[0][0]})
            self._hold(due.channel, [row[0] for row in found], HELD)
            return [_message(due.channel, *row) for row in found]

        messages = await self._spool.file.run(work)
        if not messages:
            return None
        ids = tuple(message.number for message in messages)
        return Claim(due.channel, str(uuid.uuid4()), ids, tuple(messages), target=due.target)

    async def waiting(self, due: Due) -> Waiting:
        """Returns how much is due."""

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return rows(connection, "count_due", {**due._asdict(), "held": self._held(due.channel)})

        return Waiting(*(await self._spool.file.run(work))[0])

    async def next_due(self, due: Due) -> float | None:
        """Returns the seconds until the next message is due (negative: overdue)."""
        if any(await self.waiting(due)):
            return 0.0
        now = time.monotonic()
        held = list(self._spool.held.values())
        waits = [until for name, until in held if name == due.channel and until != HELD]
        return min(waits) - now if waits else None

    async def sent(self, claim: Claim, outcome: Sent, attempt: Attempt) -> None:
        """Records that the channel accepted the messages; alert_db hears of it later."""
        values = {
            "ids": json.dumps(claim.ids),
            "now": time.time(),
            "answer": attempt.answer,
            "external_id": outcome.external_id,
        }
        await self._end(claim, "tell", values)
        self._spool.unreported = True

    async def retry(self, claim: Claim, again: Again, attempt: Attempt | None) -> None:
        """Lets messages wait; for how long the channel is held, its worker remembers."""
        progress = again.progress
        values = {
            "ids": json.dumps(claim.ids),
            "attempts": 0 if again.give_back else 1,
            "progress": None if progress is None else msgspec.json.encode(progress).decode(),
        }

        def work(connection: sqlite3.Connection) -> None:
            rows(connection, "put_back", values)
            self._hold(claim.channel, claim.ids, time.monotonic() + again.delay)

        await self._spool.file.run(work)
        if progress is not None and progress.told:
            self._spool.unreported = True

    async def dead(
        self, claim: Claim, reason: str, attempt: Attempt, fallback: str | None = None
    ) -> None:
        """Gives messages up, to the fallback where there is one; alert_db's own, later, say why."""
        values = {"ids": json.dumps(claim.ids), "reason": reason, "fallback": fallback}
        if fallback is None:
            await self._end(claim, "give_up", values)
        else:
            await self._end(claim, "give_over", values, "given_over")

    async def hand_over(self, due: Due, fallback: str) -> bool:
        """Gives what a channel cannot tell now to its fallback; all of it is urgent."""
        if self._spool.waiting[due.channel] <= 0:
            return False
        arguments = {**due._asdict(), "fallback": fallback}

        def work(connection: sqlite3.Connection) -> int:
            waiting = {**arguments, "held": self._in_hand(due.channel)}
            rows(connection, "move", waiting)
            rows(connection, "moved", waiting)
            moved = connection.execute("SELECT changes()").fetchone()[0]
            left = {number for (number,) in rows(connection, "waiting", waiting)}
            for number, (name, _) in list(self._spool.held.items()):
                if name == due.channel and number not in left:
                    del self._spool.held[number]
            self._spool.recount(connection)
            return int(moved)

        return await self._spool.file.run(work) > 0

    async def take_back(self, channel: str, fallback: str) -> None:
        """Does nothing: what was handed over stays with the fallback until alert_db is back."""

    async def _end(
        self,
        claim: Claim,
        name: str,
        values: dict[str, Any],
        and_then: str | None = None,
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            rows(connection, name, values)
            if and_then is not None:
                rows(connection, and_then, values)
            self._spool.recount(connection)
            for number in claim.ids:
                self._spool.held.pop(number, None)

        await self._spool.file.run(work)

    def _hold(self, channel: str, ids: Iterable[int], until: float) -> None:
        self._spool.held.update(dict.fromkeys(ids, (channel, until)))

    def _in_hand(self, channel: str) -> str:
        """Returns the rows of a channel that are being sent, as JSON."""
        held = self._spool.held
        return json.dumps([n for n, (name, due) in held.items() if (name, due) == (channel, HELD)])

    def _held(self, channel: str) -> str:
        """Returns the rows of a channel that are not due, as JSON."""
        now = time.monotonic()
        held = self._spool.held
        return json.dumps([n for n, (name, due) in held.items() if name == channel and due > now])


def _message(
    channel: str, number: int, attempts: int, progress: str | None, severity: int, alert: str,
    event_data: str,
) -> Message:  # fmt: skip
    stored = decoded(alert)
    title, text = stored.words.get(channel, (stored.title, stored.message))
    return Message(
        alert_id=0,
        attempt=attempts + 1,
        severity=Severity(severity),
        title=title,
        text=f"{reminder(AHEAD, 0, 0.0, 1)}{text}",
        rule=stored.rule,
        channel=stored.channel,
        event_data=msgspec.json.decode(event_data),
        timestamp=stored.timestamp,
        kind=AHEAD,
        number=number,
        progress=None if progress is None else msgspec.json.decode(progress, type=Progress),
    )
