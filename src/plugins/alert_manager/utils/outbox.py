"""The notification rows of alert_db: claim, complete, retry. Only the database's clock counts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.model import Message, Severity
from .pg import PgSession
from .queries import query

LEASE = 60.0  # seconds in which a claimed message belongs to its claimer


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that are ours to send until the lease ends.

    Attributes:
        token: completes them; a claim whose lease ended has lost it to somebody else.
        ids: rows of `notifications`, in the order of `messages`.
        ages: seconds since each message was made.
    """

    channel: str
    token: str
    ids: tuple[int, ...]
    messages: tuple[Message, ...]
    ages: tuple[float, ...]


class Outbox:
    """Hands out messages and takes back what became of them."""

    def __init__(self, session: PgSession) -> None:
        self._session = session

    async def claim(self, channel: str, limit: int) -> Claim | None:
        """Claims up to `limit` due messages, the urgent ones first; None when none is due.

        Raises:
            DatabaseUnavailableError: alert_db does not answer.
        """
        token = str(uuid.uuid4())
        arguments = {"channel": channel, "limit": limit, "token": token, "lease": LEASE}

        def work(connection: Connection) -> Claim | None:
            with connection.cursor() as cursor:
                cursor.execute(query("notifications_claim"), arguments)
                rows = cursor.fetchall()
            if not rows:
                return None
            return Claim(
                channel=channel,
                token=token,
                ids=tuple(row[0] for row in rows),
                messages=tuple(_message(row) for row in rows),
                ages=tuple(row[3] for row in rows),
            )

        return await self._session.run(work)

    async def next_due(self, channel: str) -> float | None:
        """Returns the seconds until a channel's next message is due (negative: overdue)."""

        def work(connection: Connection) -> float | None:
            with connection.cursor() as cursor:
                cursor.execute(query("notifications_next"), {"channel": channel})
                row = cursor.fetchone()
                return None if row is None else row[0]

        return await self._session.run(work)

    async def sent(self, claim: Claim, external_id: str | None) -> None:
        """Records that the channel accepted the messages."""
        await self._complete("notifications_sent", claim, claim.ids, external_id=external_id)

    async def retry(
        self, claim: Claim, ids: Sequence[int], delay: float, reason: str, give_back: bool
    ) -> None:
        """Lets messages wait `delay` seconds; `give_back` takes the attempt off their count."""
        await self._complete(
            "notifications_retry", claim, ids, delay=delay, reason=reason, give_back=int(give_back)
        )

    async def dead(self, claim: Claim, ids: Sequence[int], reason: str) -> None:
        """Gives messages up, for a reason that a person can see."""
        await self._complete("notifications_dead", claim, ids, reason=reason)

    async def _complete(
        self, name: str, claim: Claim, ids: Sequence[int], **arguments: object
    ) -> None:
        if not ids:
            return
        values = {**arguments, "ids": list(ids), "token": claim.token}

        def work(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.execute(query(name), values)

        await self._session.run(work)


def _message(row: tuple[Any, ...]) -> Message:
    (_, alert_id, attempts, _, severity, title, text, rule, channel, event_data, timestamp) = row
    return Message(
        alert_id=alert_id,
        attempt=attempts,
        severity=Severity.parse(str(severity)),
        title=str(title or ""),
        text=str(text),
        rule=str(rule or ""),
        channel=str(channel),
        event_data=event_data or {},
        timestamp=float(timestamp),
    )
