"""Delivery: takes committed notifications to their channels, one worker a channel.

A worker claims, sends outside of any transaction, and completes by its lease token, so that a kill
at any point repeats at most what was in flight. A channel that is down delays no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable, Mapping

from ..domain.backoff import retry_delay
from ..domain.breaker import Breaker
from ..domain.errors import DatabaseUnavailableError
from ..domain.model import ChannelState, Outcome, Rejected, Retry, Sent
from ..metrics import Metrics
from ..settings import BreakerSettings, DeliverySettings
from .channels.base import Channel
from .outbox import LEASE, Claim, Outbox

log = logging.getLogger("corec.alert_manager.delivery")

_FLOOR = 5.0  # seconds; other instances' messages and ends of leases are looked for this often
_SOONEST = 0.02  # seconds
_FINISH = 3.0  # seconds that a stop gives to what is in hand


class Delivery:
    """Runs the workers of all channels."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        breaker: BreakerSettings,
        settings: DeliverySettings,
        metrics: Metrics,
    ) -> None:
        self._workers = {
            name: _Worker(name, channel, outbox, breaker, settings, metrics)
            for name, channel in channels.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts a task for each channel."""
        self._tasks = [
            asyncio.create_task(worker.run(), name=f"delivery-{name}")
            for name, worker in self._workers.items()
        ]

    def wake(self, names: Iterable[str]) -> None:
        """Tells channels that they have messages."""
        for name in names:
            if name in self._workers:
                self._workers[name].wake()

    def states(self) -> dict[str, ChannelState]:
        """Returns the state of each channel."""
        return {name: worker.state() for name, worker in self._workers.items()}

    async def stop(self) -> None:
        """Claims no more, lets what is in hand finish for a while, and closes the channels."""
        for worker in self._workers.values():
            worker.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_FINISH)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for worker in self._workers.values():
            await worker.close()


class _Worker:
    """Sends the messages of one channel, in order of urgency."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        outbox: Outbox,
        breaker: BreakerSettings,
        settings: DeliverySettings,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._channel = channel
        self._outbox = outbox
        self._breaker = Breaker(breaker.max_failures, breaker.reset_timeout)
        self._settings = settings
        self._metrics = metrics
        self._signal = asyncio.Event()
        self._stopping = False
        self._not_before = 0.0
        self._disabled: str | None = None
        self._last_error: str | None = None

    def wake(self) -> None:
        self._signal.set()

    def stop(self) -> None:
        self._stopping = True
        self._signal.set()

    def state(self) -> ChannelState:
        return ChannelState(self._breaker.is_open, self._disabled, self._last_error)

    async def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await self._channel.close()

    async def run(self) -> None:
        while not self._stopping and self._disabled is None:
            try:
                await self._step()
            except DatabaseUnavailableError as error:
                log.warning("%s: sin alert_db, se espera: %s", self._name, error)
                await self._pause(_FLOOR)
            except Exception:
                # A fault of ours must not silence a channel; the lease brings the message back.
                log.exception("%s: fallo inesperado al entregar", self._name)
                await self._pause(_FLOOR)

    async def _step(self) -> None:
        now = time.monotonic()
        wait = max(self._breaker.wait(now), self._not_before - now)
        if wait > 0:
            await self._pause(wait)
            return
        self._signal.clear()
        # An open breaker that may be probed risks one message, not a batch.
        limit = 1 if self._breaker.is_open else self._channel.max_batch
        claim = await self._outbox.claim(self._name, limit)
        if claim is not None:
            await self._deliver(claim)
            return
        due = await self._outbox.next_due(self._name)
        await self._idle(_FLOOR if due is None else min(max(due, _SOONEST), _FLOOR))

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

    async def _deliver(self, claim: Claim) -> None:
        try:
            outcome = await self._channel.send(claim.messages)
        except Exception as error:
            # A channel promises not to raise; one that does is treated as failing, not as fatal.
            log.exception("%s: el canal falló de forma inesperada", self._name)
            outcome = Retry(f"fallo inesperado: {type(error).__name__}")
        self._learn(outcome)
        await self._record(claim, outcome)
        self._metrics.notifications.labels(self._name, type(outcome).__name__.lower()).inc(
            len(claim.ids)
        )

    def _learn(self, outcome: Outcome) -> None:
        """Moves the breaker, and the time before which the server does not want us."""
        now = time.monotonic()
        match outcome:
            case Sent():
                if self._breaker.is_open:
                    log.warning("%s: el canal funciona de nuevo", self._name)
                self._breaker = self._breaker.succeeded()
                self._last_error = None
            case Retry(reason, after, throttled):
                self._last_error = reason
                if after is not None:
                    self._not_before = now + after
                if not throttled:
                    self._fail(now, reason)
            case Rejected(reason, disable):
                self._last_error = reason
                if disable:
                    self._disabled = reason
                    log.critical("%s: canal deshabilitado hasta reiniciar: %s", self._name, reason)
        self._metrics.breaker_open.labels(self._name).set(int(self._breaker.is_open))

    def _fail(self, now: float, reason: str) -> None:
        was_open = self._breaker.is_open
        self._breaker = self._breaker.failed(now)
        if self._breaker.is_open and not was_open:
            log.error("%s: circuit breaker abierto: %s", self._name, reason)

    async def _record(self, claim: Claim, outcome: Outcome) -> None:
        """Stores the outcome; tries until the lease ends, after which it is no longer ours."""
        until = time.monotonic() + LEASE
        while True:
            try:
                await self._store(claim, outcome)
                return
            except DatabaseUnavailableError:
                if self._stopping or time.monotonic() >= until:
                    raise
                await self._pause(1.0)

    async def _store(self, claim: Claim, outcome: Outcome) -> None:
        match outcome:
            case Sent(external_id):
                await self._outbox.sent(claim, external_id)
            case Rejected(reason):
                log.error("%s: alertas %s rechazadas: %s", self._name, _ids(claim), reason)
                await self._outbox.dead(claim, claim.ids, reason)
            case Retry(reason, after, throttled):
                max_age = self._settings.max_age
                old = [i for i, age in zip(claim.ids, claim.ages, strict=True) if age > max_age]
                if old:
                    log.error("%s: alertas %s caducadas: %s", self._name, _ids(claim), reason)
                    await self._outbox.dead(claim, old, f"caducada tras {max_age:g} s: {reason}")
                waiting = [i for i in claim.ids if i not in old]
                delay = self._delay(claim) if after is None else after
                await self._outbox.retry(claim, waiting, delay, reason, give_back=throttled)

    def _delay(self, claim: Claim) -> float:
        attempt = max(message.attempt for message in claim.messages)
        settings = self._settings
        return retry_delay(attempt, random.random(), settings.retry_base, settings.retry_cap)  # noqa: S311


def _ids(claim: Claim) -> str:
    return ", ".join(str(message.alert_id) for message in claim.messages)
