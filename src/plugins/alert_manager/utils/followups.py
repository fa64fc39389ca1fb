"""Critical alerts that nobody has acknowledged: told again, and told to others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection  # noqa: N812

from .pg import PgSession
from .queries import query

_REPEATS = 8  # at growing distances: with 4 h, the last one after six weeks


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the escalation: who is told, seconds after an alert that nobody acknowledged."""

    after: float
    channels: tuple[str, ...]


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
        """Queues what is due; returns the channels that have something to tell.

        Raises:
            NotNowError: alert_db does not answer.
        """

        def work(connection: Connection) -> frozenset[str]:
            told: set[str] = set()
            with connection.cursor() as cursor:
                for name, arguments in (
                    ("escalate", self._steps),
                    ("repeat_critical", self._repeats),
                ):
                    if arguments["number"]:
                        cursor.execute(query(name), {**arguments, "machines": self._machines})
                        told.update(row[0] for row in cursor)
            return frozenset(told)

        return await self._session.run(work)
