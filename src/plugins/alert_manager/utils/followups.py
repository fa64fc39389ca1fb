"""Critical alerts that nobody has acknowledged: told again, and told to others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.escalation import Step
from ..domain.model import Payload, Severity
from ..domain.silences import Silence
from .pg import PgSession
from .queries import query
from .silences import load_silences

_PAGE = 500  # at once, so that nobody waits for long
_REPEATS = 8  # at growing distances: with 4 h, the last one after six weeks


class FollowUps:
    """Queues what is due of critical alerts that are still open.

    Args:
        session: with alert_db.
        steps: of the escalation, in order.
        repeat_interval: seconds until the first repetition; the next ones come after twice as long
            each. None: there are none.
        machines: notification channels that no person reads: what only they were told is none.
    """

    def __init__(
        self,
        session: PgSession,
        steps: Sequence[Step],
        repeat_interval: float | None,
        machines: Collection[str],
    ) -> None:
        self._session = session
        self._machines = list(machines)
        pairs = [(n, step.after, name) for n, step in enumerate(steps, 1) for name in step.channels]
        self._steps = {
            "number": [number for number, _, _ in pairs],
            "after": [after for _, after, _ in pairs],
            "channel": [name for _, _, name in pairs],
        }
        numbers = [] if repeat_interval is None else list(range(1, _REPEATS + 1))
        self._repeats = {
            "number": numbers,
            "after": [(repeat_interval or 0.0) * (2**number - 1) for number in numbers],
        }

    async def queue(self) -> frozenset[str]:
        """Queues what is due and not silenced; returns the channels that have something to tell.

        Raises:
            NotNowError: alert_db does not answer.
        """
        told: set[str] = set()
        for kind, name, arguments in (
            ("escalation", "escalations_due", self._steps),
            ("repeat", "repeats_due", self._repeats),
        ):
            last: int | None = 0 if arguments["number"] else None
            while last is not None:
                page = partial(self._page, kind, name, {**arguments, "last": last})
                last, channels = await self._session.run(page)
                told |= channels
        return frozenset(told)

    def _page(
        self, kind: str, name: str, arguments: dict[str, Any], connection: Connection
    ) -> tuple[int | None, set[str]]:
        """Queues a page; returns after which alert the next one begins, if there is one."""
        with connection.cursor() as cursor:
            silences, now = load_silences(cursor)
            counting = [silence for silence in silences if silence.counts(now)]
            cursor.execute(query(name), {**arguments, "machines": self._machines, "limit": _PAGE})
            due = cursor.fetchall()
            heard = [
                (alert_id, channel, number)
                for alert_id, channel, number, *about in due
                if not _is_silenced(counting, *about)
            ]
            if not heard:
                return _next(due), set()
            ids, channels, numbers = zip(*heard, strict=True)
            values = {"id": list(ids), "channel": list(channels), "number": list(numbers)}
            cursor.execute(query("follow_ups_put"), {**values, "kind": kind})
            return _next(due), {row[0] for row in cursor}


def _next(due: Sequence[tuple[Any, ...]]) -> int | None:
    # The last alert may have more than the page held: it is looked at once more.
    return int(due[-1][0]) - 1 if len(due) == _PAGE else None


def _is_silenced(
    counting: Sequence[Silence], rule: str | None, channel: str, data: Payload | None
) -> bool:
    about = (rule or "", Severity.CRITICA, channel, data or {})
    return any(silence.covers(*about) for silence in counting)
