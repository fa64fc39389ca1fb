"""The notification rows of alert_db: claim, complete, retry. Only the database's clock counts."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.delivery import Attempt, Message, Progress, Sent, reminder
from ..domain.model import URGENT, Severity
from .arrays import numbers
from .hand_in import HandIn
from .pg import PgSession
from .queries import execute_prepared, fetch_row, fetch_value, prepared_value, query
from .queue import Again, Claim, Due, Waiting

log = logging.getLogger("corec.alert_manager.outbox")

LEASE = 60.0  # seconds in which a claimed message belongs to its claimer
_HELD_DELAY = 60.0  # seconds
_CLOCK_INTERVAL = 60.0  # seconds between two looks at the server's clock


class Outbox:
    """Hands out messages and takes back what became of them.

    Every call may raise what `PgSession.run` raises.
    """

    def __init__(
        self,
        session: PgSession,
        hand_in: HandIn | None = None,
        moving: PgSession | None = None,
    ) -> None:
        """`moving`: hands messages over; of many that takes a second, in which others wait not."""
        self._session = session
        self._moving = moving or session
        self._hand_in = hand_in
        self._ahead = 0.0  # the server's clock, of our monotonic one
        self._looked_at = float("-inf")

    async def now(self) -> float:
        """Returns the server's time (epoch seconds): the machine's clock may be wrong."""
        if time.monotonic() - self._looked_at > _CLOCK_INTERVAL:

            def work(connection: Connection) -> float:
                with connection.cursor() as cursor:
                    return float(fetch_value(cursor, "now"))

            self._ahead = await self._session.run(work) - time.monotonic()
            self._looked_at = time.monotonic()
        return time.monotonic() + self._ahead

    async def claim(
        self, due: Due, limit: int, brief: bool = False, mark: str | None = None
    ) -> Claim | None:
        """Claims messages; those that are too old are left to `expire`."""
        if self._hand_in is not None:  # what we told while alert_db was away is not told again
            await self._hand_in.report()
        token = str(uuid.uuid4())
        arguments = {
            **due._asdict(),
            "limit": limit,
            "token": token,
            "lease": LEASE,
            "brief": brief,
            "mark": mark,
        }

        def work(connection: Connection) -> Claim | None:
            with connection.cursor() as cursor:
                execute_prepared(cursor, "notifications_claim", arguments)
                rows = cursor.fetchall()
            if not rows:
                return None
            return Claim(
                channel=due.channel,
                token=token,
                ids=tuple(row[0] for row in rows),
                messages=tuple(_message(row) for row in rows),
                alerts=tuple(alert_id for _, alert_id, _, _, kind, *_ in rows if kind == "alert"),
                target=due.target,
                more=bool(rows[0][-1]),
            )

        return await self._session.run(work)

    async def waiting(self, due: Due) -> Waiting:
        """Returns how much is due."""

        def work(connection: Connection) -> Waiting:
            with connection.cursor() as cursor:
                return Waiting(*(fetch_row(cursor, "notifications_waiting", due._asdict()) or ()))

        return await self._session.run(work)

    async def next_due(self, due: Due) -> float | None:
        """Returns the seconds until the next message is due (negative: overdue)."""

        def work(connection: Connection) -> float | None:
            with connection.cursor() as cursor:
                left: float | None = prepared_value(cursor, "notifications_next", due._asdict())
                return left

        return await self._session.run(work)

    async def sent(self, claim: Claim, outcome: Sent, attempt: Attempt) -> None:
        """Records that the channel accepted the messages."""
        accepted = {"external_id": outcome.external_id, "refused": outcome.refused}
        await self._complete("notifications_sent", claim, attempt, accepted)

    async def retry(self, claim: Claim, again: Again, attempt: Attempt | None) -> None:
        """Lets messages wait."""
        # What a server asked for holds its address: at another one the message does not wait.
        delay = min(again.delay, _HELD_DELAY) if again.hold else again.delay
        waiting = {
            "delay": delay,
            "reason": again.reason,
            "give_back": int(again.give_back),
            "progress": None if again.progress is None else json.dumps(asdict(again.progress)),
            "hold": again.hold,
            "channel": claim.channel,
            "target": claim.target,
        }
        await self._complete("notifications_retry", claim, attempt, waiting)

    async def hold(self, channel: str, target: str) -> float:
        """Returns the seconds for which a channel's server wants no requests."""
        arguments = {"channel": channel, "target": target}

        def work(connection: Connection) -> float:
            with connection.cursor() as cursor:
                return float(fetch_value(cursor, "channel_hold", arguments) or 0.0)

        return await self._session.run(work)

    async def dead(
        self, claim: Claim, reason: str, attempt: Attempt, fallback: str | None = None
    ) -> None:
        """Gives messages up, for a reason that a person can see; urgent ones to the fallback."""
        given = {"reason": reason, "fallback": fallback, "urgent": int(URGENT)}
        await self._complete("notifications_dead", claim, attempt, given)

    async def hand_over(self, due: Due, fallback: str) -> bool:
        """Gives what a channel cannot tell now to its fallback, too, and takes back what that told.

        Only what is of severity alta or worse. Returns whether the fallback has something new.
        """
        urgent = due._replace(least=max(int(URGENT), due.least))
        arguments = {**urgent._asdict(), "fallback": fallback}

        def work(connection: Connection) -> bool:
            with connection, connection.cursor() as cursor:
                cursor.execute(query("take_back"), arguments)
                cursor.execute(query("hand_over"), arguments)
                return cursor.rowcount > 0

        return await self._moving.run(work)

    async def take_back(self, channel: str, fallback: str) -> None:
        """Takes back what a fallback has told meanwhile."""
        arguments = {"channel": channel, "fallback": fallback, "least": int(URGENT)}

        def work(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.execute(query("take_back"), arguments)

        await self._moving.run(work)

    async def expire(
        self,
        max_age: float,
        reasons: Mapping[str, str],
        ages: Mapping[str, float],
        no_channel: str,
        limit: int,
    ) -> list[tuple[str, int]]:
        """Gives up to `limit` messages up that are older than `max_age` seconds.

        Args:
            max_age: in seconds.
            reasons: why, for a person, by channel in use.
            ages: of each of these channels, the age to count with instead.
            no_channel: why, for the messages of all other channels.
            limit: how many at the most; as many as this in return mean that there may be more.

        Returns:
            Channel and alert id of each.
        """
        arguments = {
            "max_age": max_age,
            "channels": list(reasons),
            "reasons": list(reasons.values()),
            "ages": [ages.get(name, max_age) for name in reasons],
            "no_channel": no_channel,
            "limit": limit,
        }

        def work(connection: Connection) -> list[tuple[str, int]]:
            with connection.cursor() as cursor:
                cursor.execute(query("notifications_expire"), arguments)
                return [(str(channel), int(alert_id)) for channel, alert_id in cursor]

        return await self._session.run(work)

    async def _complete(
        self, name: str, claim: Claim, attempt: Attempt | None, arguments: Mapping[str, object]
    ) -> None:
        tried = asdict(attempt or Attempt("", 0.0, None))
        tried["outcome"] = tried["outcome"] or None
        values = {**arguments, **tried, "ids": numbers(claim.ids), "token": claim.token}

        def work(connection: Connection) -> int:
            with connection.cursor() as cursor:
                # Nearly all is sent; the others are asked for too seldom to be kept planned.
                ask = prepared_value if name == "notifications_sent" else fetch_value
                return int(ask(cursor, name, values))

        ours = await self._session.run(work)
        if ours < len(claim.ids):
            log.warning(
                "%s: %d de %d avisos habían pasado a otra instancia; pueden llegar dos veces",
                claim.channel,
                len(claim.ids) - ours,
                len(claim.ids),
            )


def _message(row: tuple[Any, ...]) -> Message:
    (_, alert_id, attempts, progress, kind, number, resolution, age, occurrences) = row[:9]
    (status, severity, title, text, rule, channel, event_data, timestamp) = row[9:17]
    said = str(resolution or "") if kind == "recovery" else str(text)
    if status == "resuelta" and kind != "recovery":  # while it waited
        said = f"Ya está resuelta. {said}"
    return Message(
        alert_id=alert_id,
        attempt=attempts,
        severity=Severity.parse(str(severity)),
        title=str(title or ""),
        text=f"{reminder(kind, alert_id, age, occurrences)}{said}",
        rule=str(rule or ""),
        channel=str(channel),
        event_data=event_data or {},
        timestamp=float(timestamp),
        recovered=kind == "recovery",
        kind=kind,
        number=number,
        progress=None if progress is None else _progress(progress),
    )


def _progress(stored: Mapping[str, Any]) -> Progress:
    return Progress(
        tuple(stored["remaining"]),
        str(stored["refused"]),
        bool(stored["told"]),
        str(stored.get("digest", "")),
    )
