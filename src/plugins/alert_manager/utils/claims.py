"""What one channel tells next: quiet hours, digests, and what its fallback tells instead."""

from __future__ import annotations

from dataclasses import replace

from ..domain.digest import MOST, digest
from ..domain.model import Severity
from ..domain.pacing import Pace
from .queue import Claim, Due, Queue


class Claims:
    """Claims the messages of one channel as its pace allows.

    Every call may raise what `PgSession.run` raises.

    Args:
        name: the channel's.
        batch: messages in one send, at the most.
        max_age: seconds after which a message is too old, by day.
    """

    def __init__(self, name: str, queue: Queue, pace: Pace, batch: int, max_age: float) -> None:
        self._name = name
        self._queue = queue
        self._pace = pace
        self._batch = batch
        self._max_age = max_age
        self._is_again = False  # what was claimed last
        self._may_be_told = pace.fallback is not None  # by the fallback, also before a restart

    @property
    def fallback(self) -> str | None:
        """The channel that tells urgent alerts while this one cannot."""
        return self._pace.fallback

    def max_age(self, now: float) -> float:
        """Returns the age (seconds) at which a message of this channel is too old to be told."""
        return self._pace.max_age(self._max_age, now)

    async def next(self, alone: bool, most: int | None = None) -> Claim | None:
        """Claims what is to be sent next.

        Args:
            alone: one message alone.
            most: alerts in a digest: as many as this were too much for the channel. None: any.
        """
        if self._may_be_told and self.fallback is not None:
            await self._queue.take_back(self._name, self.fallback)
            self._may_be_told = False
        due = await self._due()
        if alone:
            return await self._queue.claim(due, 1)
        above = self._pace.digest_above
        if above is None:
            return await self._queue.claim(due, self._batch)
        critical, others, mark = await self._queue.waiting(due)
        # In turn: who was put off waits for no flood of news, and news for no full mailbox.
        news = critical + others
        self._is_again = mark is not None and not (self._is_again and news)
        if self._is_again:  # as it was: of those who have it nobody gets it with others in it
            return _together(await self._queue.claim(due, MOST, brief=True, mark=mark))
        # The critical ones go by themselves, and first, as long as that can be read.
        if (most and news) or critical > above or (not critical and others > above):
            limit = min(MOST, most or MOST, self._pace.names if critical else MOST)
            return _together(await self._queue.claim(due, limit, brief=True, mark=""))
        return await self._queue.claim(due, self._batch, mark="")

    async def next_due(self) -> float | None:
        """Returns the seconds until the next message is due (negative: overdue)."""
        return await self._queue.next_due(await self._due())

    async def hand_over(self) -> bool:
        """Lets the fallback tell what is urgent; returns whether it has something new."""
        if self.fallback is None:
            return False
        self._may_be_told = True
        return await self._queue.hand_over(await self._due(), self.fallback)

    async def _due(self) -> Due:
        now = await self._queue.now()
        least = Severity.CRITICA if self._pace.is_quiet(now) else 0
        return Due(self._name, self.max_age(now), least, self._pace.target)


def _together(claim: Claim | None) -> Claim | None:
    """Makes one message of several."""
    if claim is None or len(claim.messages) == 1:
        return claim
    one = replace(digest(claim.messages), progress=claim.messages[0].progress)
    return replace(claim, messages=(one,), digest=True)
