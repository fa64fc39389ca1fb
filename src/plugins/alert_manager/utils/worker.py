"""The worker of one channel: claims its messages, sends them, and learns how the channel is doing.

It claims, sends outside of any transaction, and completes by its lease token, so that a kill at any
point repeats at most what was in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from ..domain.delivery import (
    Attempt,
    ChannelState,
    Disabled,
    Outcome,
    Rejected,
    Retry,
    Sent,
)
from ..domain.digest import MOST
from ..domain.errors import NotNowError, SpoolUnusableError
from ..domain.pacing import Pace
from ..faults import log_fault
from ..metrics import Metrics
from ..ports import ChannelWatch
from ..settings import BreakerSettings, DeliverySettings
from .background import Background
from .channels.base import Channel
from .claims import Claims
from .condition import Condition
from .outbox import Outbox
from .queue import Again, Claim, Queue
from .records import Records
from .spool import Spool
from .spool_queue import SpoolQueue

log = logging.getLogger("corec.alert_manager.delivery")

SEND_LIMIT = 50.0  # seconds; a send ends before its lease does, or somebody else would send too
_FLOOR = 5.0  # seconds; other instances' messages and ends of leases are looked for this often
_FRESH = 7.0  # seconds; who has trouble meets it again at least every `_FLOOR`
_SOONEST = 0.02  # seconds
_STOPPED_BEFORE = "CoreC se detuvo antes de enviarla"
_STOPPED_WHILE = "CoreC se detuvo en pleno envío; puede llegar dos veces"


class Worker:
    """Sends the messages of one channel, in order of urgency."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        outbox: Outbox,
        spool: Spool,
        breaker: BreakerSettings,
        settings: DeliverySettings,
        metrics: Metrics,
        pace: Pace,
        on_handed_over: Callable[[str], None],
        watch: ChannelWatch,
        background: Background,
    ) -> None:
        self._name = name
        self._channel = channel
        self._outbox = outbox
        self._condition = Condition(name, breaker, watch)
        self._settings = settings
        self._metrics = metrics
        batch, max_age = channel.max_batch, settings.max_age
        self._spool = spool
        self._ahead = SpoolQueue(spool)
        self._claims = Claims(name, outbox, pace, batch, max_age)
        self._claims_ahead = Claims(name, self._ahead, pace, batch, max_age)
        self._records = Records(name, settings, watch, pace.fallback)
        self._target = pace.target
        self._bucket = pace.bucket()
        self._on_handed_over = on_handed_over
        self._background = background
        self._signal = asyncio.Event()
        self._stopping = False
        self._sending: asyncio.Timeout | None = None
        self._suspects: set[int] = set()  # rows of a batch that was rejected: to be sent alone
        self._most: int | None = None  # alerts in a digest, where more were rejected
        self._trouble: str | None = None  # with alert_db
        self._trouble_at = float("-inf")
        self._has_asked = False  # until when the server wants no requests

    def wake(self) -> None:
        """Says that there are messages."""
        self._signal.set()

    def stop(self) -> None:
        """Claims no more; what is in hand goes on."""
        self._stopping = True
        self._signal.set()

    def abort(self) -> None:
        """Ends a send that is under way, after `stop`; its messages are given back."""
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(asyncio.get_running_loop().time())

    def state(self) -> ChannelState:
        """Returns how the channel is doing."""
        return self._condition.state()

    @property
    def trouble(self) -> str | None:
        """Why alert_db gives no messages, or takes no outcome, as of the last seconds; or None."""
        # Who has to wait for another reason does not ask again: what was said then says nothing.
        return self._trouble if time.monotonic() - self._trouble_at < _FRESH else None

    async def close(self) -> None:
        """Closes the channel."""
        try:
            await self._channel.close()
        except Exception as error:  # noqa: BLE001  (the other channels are still to be closed)
            log_fault(log, f"{self._name}: fallo inesperado al cerrar el canal", error)

    async def run(self) -> None:
        """Sends what there is, until `stop`, or until the target turns out to be gone."""
        while not self._stopping and not self.is_useless:
            # Before anything that may fail at once: a wake-up that nobody has heard would end each
            # wait at once, too, and nothing else would ever run.
            self._signal.clear()
            try:
                if self._condition.disabled is None:
                    await self._step()
                else:
                    await self._hand_over()
                    await self._pause(_FLOOR)
            except SpoolUnusableError as error:
                log.error("%s: %s", self._name, error)
                await self._pause(_FLOOR)
            except NotNowError as error:
                self._note_trouble(str(error))
                await self._idle(_FLOOR)  # what is told ahead of it ends the waiting
            except Exception as error:  # noqa: BLE001
                # A fault of ours must not silence a channel; the lease brings the message back.
                log_fault(log, f"{self._name}: fallo inesperado al entregar", error)
                self._trouble = f"fallo inesperado al entregar por {self._name}"
                self._trouble_at = time.monotonic()
                await self._pause(_FLOOR)

    def _note_trouble(self, trouble: str) -> None:
        """Says once why alert_db gives and takes nothing."""
        if trouble != self._trouble:
            log.warning("%s: sin alert_db, se espera: %s", self._name, trouble)
        self._trouble, self._trouble_at = trouble, time.monotonic()

    async def _step(self) -> None:
        now = time.monotonic()
        wait = self._condition.wait(now)
        if self._bucket is not None:
            wait = max(wait, self._bucket.wait(now))
        if wait > 0:
            if self._condition.cannot_tell:
                await self._hand_over()
                wait = min(wait, _FLOOR)  # what comes meanwhile is handed over, too
            await self._pause(wait)
            return
        queue, claim = await self._next()
        if claim is None:
            self._suspects.clear()
            due = await self._claims.next_due()
            await self._idle(_FLOOR if due is None else min(max(due, _SOONEST), _FLOOR))
            await self._pause(self._background.linger)
        elif self._stopping:
            await queue.retry(claim, Again(0.0, _STOPPED_BEFORE, give_back=True), None)
        else:
            told = isinstance(await self._deliver(queue, claim), Sent)
            took, least = time.monotonic() - now, 0.0
            if told and not claim.more:  # it would be asked for nothing
                await self._idle(_FLOOR)
                least = self._background.linger
            # Last, as what comes meanwhile does not end it: the next thing is to claim.
            await self._pause(max(least, self._background.rest(took)))

    async def _next(self) -> tuple[Queue, Claim | None]:
        """Claims what is to be sent next: first what alert_db cannot give us."""
        # An open breaker that may be probed risks one message, not a batch.
        alone = self._condition.is_open or bool(self._suspects)
        if self._spool.has_due(self._name):
            claim = await self._claims_ahead.next(alone, self._most)
            if claim is not None:
                return self._ahead, claim
        await self._records.catch_up()
        if not self._has_asked:  # it may have been said before a restart, or to another instance
            if (held := await self._outbox.hold(self._name, self._target)) > 0:
                self._condition.hold(held)
            self._has_asked = True
        claim = await self._claims.next(alone, self._most)
        self._trouble = None
        return self._outbox, claim

    def max_age(self, now: float) -> float:
        """Returns the age (seconds) at which a message of this channel is too old to be told."""
        return self._claims.max_age(now)

    @property
    def is_useless(self) -> bool:
        """True where nothing is left to be done: its target is gone, and nobody stands in."""
        return self._condition.disabled is not None and self._claims.fallback is None

    async def _hand_over(self) -> None:
        """Lets the fallback tell what is urgent, while this channel cannot."""
        fallback = self._claims.fallback
        if fallback is None:
            return
        for claims in (self._claims_ahead, self._claims):
            if await claims.hand_over():
                log.warning("%s: lo urgente lo entrega %s", self._name, fallback)
                self._on_handed_over(fallback)

    async def _idle(self, seconds: float) -> None:
        """Waits for work, or for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._signal.wait()

    async def _pause(self, seconds: float) -> None:
        """Waits for `seconds` whatever comes in meanwhile; only a stop ends it."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._signal.clear()
            await self._idle(left)

    async def _deliver(self, queue: Queue, claim: Claim) -> Outcome:
        self._suspects.difference_update(claim.ids)
        self._spool.untold.sending(self._name, claim.alerts)
        if self._bucket is not None:
            self._bucket = self._bucket.taken(time.monotonic())
        started = time.monotonic()
        outcome = await self._attempt(claim)
        seconds = time.monotonic() - started
        if isinstance(outcome, Rejected) and len(claim.ids) > 1:
            await self._take_apart(queue, claim, outcome, seconds)
            return outcome
        again = isinstance(outcome, Retry | Disabled) and not _was_told(outcome)
        self._spool.untold.sent(self._name, claim.alerts, to_be_retried=again)
        if not self._stopping:  # what our own stop did says nothing of the channel
            self._condition.learn(outcome)
        if isinstance(outcome, Sent) and self._most is not None:
            self._most = None if self._most >= MOST else 2 * self._most
        attempt = Attempt.of(outcome, seconds)
        self._metrics.notified(self._name, attempt.outcome, len(claim.ids))
        if isinstance(outcome, Sent):
            self._metrics.told(self._name, claim.messages)
        await self._records.record(queue, claim, outcome, attempt)
        if isinstance(outcome, Rejected) and self._claims.fallback is not None:
            self._on_handed_over(self._claims.fallback)
        if isinstance(outcome, Retry) and outcome.after is not None:
            # Once more, from now: waking before our own messages are due, we would take less
            # urgent ones first.
            self._condition.hold(outcome.after)
        return outcome

    async def _attempt(self, claim: Claim) -> Outcome:
        """Sends, within the lease and not beyond a stop."""
        try:
            async with asyncio.timeout(SEND_LIMIT) as self._sending:
                return await self._channel.send(claim.messages)
        except Exception as error:  # noqa: BLE001
            if self._sending is not None and self._sending.expired():
                return self._cut_off()
            # A channel promises not to raise; one that does is treated as failing, not as fatal.
            log_fault(log, f"{self._name}: el canal falló de forma inesperada", error)
            reason = f"fallo inesperado: {type(error).__name__}"
            return Retry(reason) if len(claim.ids) == 1 else Rejected(reason)
        finally:
            self._sending = None

    def _cut_off(self) -> Retry:
        if self._stopping:
            # Nobody knows whether the server took it: whoever starts next tells it (again) at once.
            return Retry(_STOPPED_WHILE, after=0.0)
        return Retry(f"el envío no terminó en {SEND_LIMIT:g} s")

    async def _take_apart(
        self, queue: Queue, claim: Claim, outcome: Rejected, seconds: float
    ) -> None:
        """Gives back what was rejected: a batch is sent one by one, a digest by halves.

        One mail for each of thousands is what a digest is there to prevent.
        """
        reason = outcome.reason
        self._spool.untold.sent(self._name, claim.alerts, to_be_retried=True)
        log.warning("%s: rechaza varias alertas juntas, se separan: %s", self._name, reason)
        self._condition.last_error = reason
        if claim.digest:
            self._most = max(1, len(claim.ids) // 2)
        else:
            self._suspects.update(claim.ids)
        retry = Retry(reason, after=0.0, throttled=True)  # it was no attempt of each of them
        await self._records.record(queue, claim, retry, Attempt.of(outcome, seconds))
        self._metrics.notified(self._name, "split", len(claim.ids))


def _was_told(outcome: Retry | Disabled) -> bool:
    """Says whether some recipients have it."""
    return isinstance(outcome, Retry) and outcome.progress is not None and outcome.progress.told
