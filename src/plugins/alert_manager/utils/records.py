"""Stores what became of each send, as soon as the queue that it came from can be written."""

from __future__ import annotations

import logging
import random
from collections import deque
from dataclasses import replace

from ..domain.backoff import retry_delay
from ..domain.delivery import Attempt, Disabled, Outcome, Rejected, Retry, Sent
from ..domain.errors import NotNowError
from ..ports import ChannelWatch
from ..settings import DeliverySettings
from .queue import Again, Claim, Queue

log = logging.getLogger("corec.alert_manager.delivery")


class Records:
    """What became of the messages of one channel."""

    def __init__(
        self,
        name: str,
        settings: DeliverySettings,
        watch: ChannelWatch,
        fallback: str | None = None,
    ) -> None:
        """`fallback`: the channel that tells what is urgent, and that this one's server refuses."""
        self._name = name
        self._settings = settings
        self._watch = watch
        self._fallback = fallback
        self._left: deque[tuple[Queue, Claim, Outcome, Attempt]] = deque()

    async def record(self, queue: Queue, claim: Claim, outcome: Outcome, attempt: Attempt) -> None:
        """Stores an outcome; where that is not possible now, `catch_up` does.

        Somebody may send again meanwhile, once the lease is over: an outcome that nobody could
        store is one that nobody can know.

        Raises:
            NotNowError: it could not be stored yet.
        """
        self._tell(claim, outcome)
        try:
            await self._store(queue, claim, outcome, attempt)
        except NotNowError:
            self._left.append((queue, claim, outcome, attempt))
            raise

    async def catch_up(self) -> None:
        """Stores what could not be stored.

        Raises:
            NotNowError: it still cannot.
        """
        while self._left:
            record = self._left.popleft()
            try:
                await self._store(*record)
            except NotNowError:
                self._left.appendleft(record)
                raise

    def _tell(self, claim: Claim, outcome: Outcome) -> None:
        match outcome:
            case Sent(_, refused) if refused is not None:
                log.warning("%s: alertas %s: %s", self._name, _ids(claim), refused)
            case Rejected(reason):
                log.error("%s: alertas %s rechazadas: %s", self._name, _ids(claim), reason)
                self._watch.given_up(self._name, len(claim.ids), reason, self._fallback)

    async def _store(self, queue: Queue, claim: Claim, outcome: Outcome, attempt: Attempt) -> None:
        match outcome:
            case Sent():
                await queue.sent(claim, outcome, attempt)
            case Rejected(reason):
                await queue.dead(claim, reason, attempt, self._fallback)
            case Disabled(reason):
                await queue.retry(claim, Again(0.0, reason, give_back=True), attempt)
            case Retry(reason, after, throttled, progress):
                delay = self._delay(claim) if after is None else after
                if progress is not None and claim.digest:
                    progress = replace(progress, digest=claim.token)
                again = Again(delay, reason, throttled, progress, hold=after or 0.0)
                await queue.retry(claim, again, attempt)

    def _delay(self, claim: Claim) -> float:
        attempt = max(message.attempt for message in claim.messages)
        settings = self._settings
        return retry_delay(attempt, random.random(), settings.retry_base, settings.retry_cap)  # noqa: S311


def _ids(claim: Claim) -> str:
    if claim.digest:
        return f"({len(claim.ids)} en un resumen)"
    return ", ".join(message.reference for message in claim.messages)
