"""Delivery: takes committed notifications to their channels, one worker a channel.

A channel that is down delays no other. What could not be told in time is given up, visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from ..domain.delivery import ChannelState
from ..domain.errors import NotNowError
from ..domain.pacing import Pace
from ..domain.tally import OTHER
from ..faults import log_fault
from ..metrics import Metrics
from ..ports import ChannelWatch, Nobody
from ..settings import BreakerSettings, DeliverySettings
from ..tasks import finished
from .background import Background
from .channels.base import Channel
from .channels.registry import REPORT_CHANNELS
from .followups import FollowUps
from .outbox import Outbox
from .queue import Due
from .spool import Spool
from .worker import Worker

log = logging.getLogger("corec.alert_manager.delivery")

_FINISH = 2.0  # seconds that a stop gives to what is in hand
_GIVE_BACK = 1.5  # seconds more, to give back what was cut off
_CLOSE = 1.0  # seconds
_EXPIRY = 60.0  # seconds between two looks for messages that became too old
_FOLLOW_UP = 5.0  # seconds between two looks for critical alerts that nobody acknowledged
_EXPIRE_AT_ONCE = 1000
_OWN_WAIT = 5.0  # seconds between tries to report to corec_db and Redis, at the most
_IDS_IN_LOG = 20


class Delivery:
    """Runs the workers of all channels, and gives up what became too old."""

    def __init__(
        self,
        outbox: Outbox,
        spool: Spool,
        channels: Mapping[str, Channel],
        breaker: BreakerSettings,
        settings: DeliverySettings,
        metrics: Metrics,
        paces: Mapping[str, Pace] | None = None,
        follow_ups: FollowUps | None = None,
        watch: ChannelWatch | None = None,
        retired: Mapping[str, str] | None = None,
        backgrounds: Mapping[str, Background] | None = None,
    ) -> None:
        """Builds a worker for each channel; those that come first hear first of new messages.

        `paces`: what channels keep to; those that it does not name are as fast as they can.
        `retired`: channels that are not in use any more, with those that tell in their place.
        `backgrounds`: how channels that wake nobody give way to others.
        """
        self._retired = dict(retired or {})
        self._watch = watch or Nobody()
        self._follow_ups = follow_ups
        self._outbox = outbox
        self._settings = settings
        self._metrics = metrics
        self._workers = {
            name: Worker(
                name,
                channel,
                outbox,
                spool,
                breaker if name not in REPORT_CHANNELS else _sooner(breaker),
                settings if name not in REPORT_CHANNELS else _often(settings),
                metrics,
                (paces or {}).get(name, Pace()),
                lambda fallback: self.wake([fallback]),
                self._watch,
                (backgrounds or {}).get(name, Background()),
            )
            for name, channel in channels.items()
        }
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts a task for each channel, for what becomes too old, and for what nobody minds."""
        self._tasks = [
            asyncio.create_task(worker.run(), name=f"delivery-{name}")
            for name, worker in self._workers.items()
        ]
        often = min(_EXPIRY, max(self._settings.max_age, 1.0))
        for name, look, seconds in (
            ("expiry", self._expire, often),
            ("follow-ups", self._follow_up, _FOLLOW_UP),
        ):
            task = asyncio.create_task(self._for_ever(look, seconds), name=f"delivery-{name}")
            self._tasks.append(task)

    def wake(self, names: Iterable[str] | None) -> None:
        """Tells channels that they have messages; None: all of them."""
        wanted = self._workers if names is None else frozenset(names)
        for name, worker in self._workers.items():
            if name in wanted:
                worker.wake()

    def states(self) -> dict[str, ChannelState]:
        """Returns the state of each channel."""
        return {name: worker.state() for name, worker in self._workers.items()}

    def ended(self) -> list[str]:
        """Returns the names of tasks that ended by themselves; that of a useless channel may."""
        if self._stopping.is_set():
            return []
        useless = {f"delivery-{name}" for name, w in self._workers.items() if w.is_useless}
        names = [task.get_name() for task in self._tasks if task.done()]
        return [name for name in names if name not in useless]

    @property
    def trouble(self) -> str | None:
        """Why alert_db gives no messages, or takes no outcomes; None: it does."""
        return next((w.trouble for w in self._workers.values() if w.trouble is not None), None)

    async def stop(self) -> None:
        """Claims no more, lets what is in hand finish for a while, and closes the channels.

        It takes 5 s at the most. What was still being sent then is given back, to be sent again.
        """
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()
        late = await finished(self._tasks, _FINISH)
        for worker in self._workers.values():
            worker.abort()
        late = await finished(late, _GIVE_BACK)
        for task in late:
            task.cancel()
        closing = [asyncio.create_task(worker.close()) for worker in self._workers.values()]
        for task in await finished([*late, *closing], _CLOSE):
            task.cancel()

    async def _for_ever(self, look: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                await look()
            except NotNowError as error:
                log.debug("no se mira la cola de avisos: %s", error)  # the workers say it aloud
            except Exception as error:  # noqa: BLE001  (a fault of ours must not end the looking)
                log_fault(log, "fallo inesperado al mirar la cola de avisos", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    async def _follow_up(self) -> None:
        if self._follow_ups is not None:
            self.wake(await self._follow_ups.queue())

    async def _expire(self) -> None:
        """Gives up what is too old, and hands over what waits for channels out of use."""
        max_age = self._settings.max_age
        start = f"caducada tras {_in_words(max_age)}"
        reasons = {name: start + _obstacle(state) for name, state in self.states().items()}
        now = await self._outbox.now()
        ages = {name: worker.max_age(now) for name, worker in self._workers.items()}
        for name, fallback in self._retired.items():
            if await self._outbox.hand_over(Due(name, max_age), fallback):
                log.warning("%s ya no está en uso: lo urgente lo entrega %s", name, fallback)
                self.wake([fallback])
        no_channel = f"{start}: el canal ya no está en uso (se quitó o se desactivó)"
        while not self._stopping.is_set():
            expired = await self._outbox.expire(max_age, reasons, ages, no_channel, _EXPIRE_AT_ONCE)
            self._count(expired)
            if len(expired) < _EXPIRE_AT_ONCE:
                return

    def _count(self, expired: Iterable[tuple[str, int]]) -> None:
        by_channel: defaultdict[str, list[int]] = defaultdict(list)
        for channel, alert_id in expired:
            by_channel[channel].append(alert_id)
        for channel, alerts in by_channel.items():
            # Rows may name channels of a configuration of the past.
            name = channel if channel in self._workers else OTHER
            self._metrics.notified(name, "expired", len(alerts))
            shown = ", ".join(map(str, alerts[:_IDS_IN_LOG]))
            more = "…" if len(alerts) > _IDS_IN_LOG else ""
            log.error("%s: %d avisos caducados, alertas %s%s", channel, len(alerts), shown, more)
            self._watch.given_up(channel, len(alerts), "caducaron sin que se pudieran entregar")


def _sooner(breaker: BreakerSettings) -> BreakerSettings:
    """Returns how the breaker of our own reports behaves: their servers are ours."""
    return breaker.model_copy(update={"reset_timeout": min(breaker.reset_timeout, _OWN_WAIT)})


def _often(settings: DeliverySettings) -> DeliverySettings:
    """Returns how our own reports are tried again: programs wait for them."""
    return settings.model_copy(update={"retry_cap": min(settings.retry_cap, _OWN_WAIT)})


def _obstacle(state: ChannelState) -> str:
    return "" if state.disabled is None else f": canal deshabilitado: {state.disabled}"


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"
