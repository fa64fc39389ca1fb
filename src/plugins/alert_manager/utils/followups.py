"""What time brings: critical alerts told again and to others, silences that begin and end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.escalation import Step
from ..domain.model import Severity
from ..domain.routing import Router
from ..domain.silences import first_covering
from ..domain.troubles import CHANNEL_DOWN
from .commit import LOCK_CLASS
from .pg import PgSession
from .queries import query
from .queueing import ToTell, queue_messages
from .silences import load_silences, mute_waiting

_PAGE = 500  # at once, so that nobody waits for long
_REPEATS = 8  # at growing distances: with 4 h, the last one after six weeks


class FollowUps:
    """Queues what is due of critical alerts that are still open, and mutes what is not to be told.

    Args:
        session: with alert_db.
        router: says who is told of an alert that goes on after its silence.
        lasting: names of rules that say when an alert is over; until then it goes on.
        steps: of the escalation, in order.
        repeat_interval: seconds until the first repetition; the next ones come after twice as long
            each. None: there are none.
        machines: notification channels that no person reads: what only they were told is none.
    """

    def __init__(
        self,
        session: PgSession,
        router: Router,
        lasting: Collection[str],
        steps: Sequence[Step],
        repeat_interval: float | None,
        machines: Collection[str],
    ) -> None:
        self._session = session
        self._router = router
        self._lasting = list(lasting)
        self._muted_by: frozenset[int] = frozenset()  # silences that counted at the last look
        self._machines = frozenset(machines)
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
        await self._session.run(_spare)
        self._muted_by = await self._session.run(self._mute)
        told: set[str] = set()
        looks = [self._heard_page] if self._lasting else []
        for kind, name, arguments in (
            ("escalation", "escalations_due", self._steps),
            ("repeat", "repeats_due", self._repeats),
        ):
            if arguments["number"]:
                looks.append(partial(self._page, kind, name, arguments))
        for look in looks:
            last: int | None = 0
            while last is not None:
                last, channels = await self._session.run(partial(look, last))
                told |= channels
        return frozenset(told)

    def _mute(self, connection: Connection) -> frozenset[int]:
        """Mutes what waits and is not to be told any more; returns the silences that count."""
        with connection.cursor() as cursor:
            counting = load_silences(cursor).counting
            if counting:  # in turn with commits, which lock alerts first, and messages after them
                cursor.execute(query("serialise_commits"), {"key": LOCK_CLASS})
                counting = load_silences(cursor).counting  # as of now: that may have taken seconds
            numbers = frozenset(silence.number for silence in counting)
            if counting:
                mute_waiting(cursor, counting, list(self._machines), not numbers <= self._muted_by)
            return numbers

    def _heard_page(self, last: int, connection: Connection) -> tuple[int | None, set[str]]:
        """Queues alerts that go on after their silence, of which nothing else would tell."""
        with connection.cursor() as cursor:
            cursor.execute(query("serialise_commits"), {"key": LOCK_CLASS})
            counting = load_silences(cursor).counting
            arguments = {"rules": self._lasting, "last": last, "limit": _PAGE}
            cursor.execute(query("silenced_lasting"), arguments)
            found = cursor.fetchall()
            told: dict[int, ToTell] = {}
            for alert_id, key, rule, channel, event_data in found:
                severity, data = Severity.parse(key), event_data or {}
                if first_covering(counting, rule, severity, channel, data) is None:
                    names = set(self._router.targets(severity, rule, channel, data))
                    if rule == CHANNEL_DOWN:
                        names = self._others(str(data.get("canal")), names, severity)
                    told[alert_id] = ToTell(alert_id, severity, tuple(sorted(names)))
            cursor.execute(query("alerts_heard"), {"ids": sorted(told)})
            heard = [told[alert_id] for (alert_id,) in cursor.fetchall()]
            channels = set(queue_messages(cursor, heard).channels)
            return (int(found[-1][0]) if len(found) == _PAGE else None), channels

    def _others(self, broken: str, names: set[str], severity: Severity) -> set[str]:
        """Returns who hears that a channel is broken: not itself, and some person in any case."""
        if names - {broken} <= self._machines:
            names = names.union(self._router.admitting(severity))
        return names - {broken}

    def _page(
        self, kind: str, name: str, arguments: dict[str, Any], last: int, connection: Connection
    ) -> tuple[int | None, set[str]]:
        """Queues a page; returns after which alert the next one begins, if there is one."""
        values = {**arguments, "last": last, "machines": list(self._machines), "limit": _PAGE}
        with connection.cursor() as cursor:
            counting = load_silences(cursor).counting
            cursor.execute(query(name), values)
            due = cursor.fetchall()
            heard = [
                row[:3]
                for row in due
                if first_covering(counting, row[3] or "", Severity.CRITICA, row[4], row[5] or {})
                is None
            ]
            if not heard:
                return _next(due), set()
            ids, channels, numbers = zip(*heard, strict=True)
            put = {"id": list(ids), "channel": list(channels), "number": list(numbers)}
            cursor.execute(query("follow_ups_put"), {**put, "kind": kind})
            return _next(due), {row[0] for row in cursor}


def _spare(connection: Connection) -> None:
    """Mutes what somebody takes care of by now; apart, as it locks messages before any alert."""
    with connection.cursor() as cursor:
        cursor.execute(query("follow_ups_spare"))


def _next(due: Sequence[tuple[Any, ...]]) -> int | None:
    # The last alert may have more than the page held: it is looked at once more.
    return int(due[-1][0]) - 1 if len(due) == _PAGE else None
