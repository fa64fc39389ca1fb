"""Tells people about our own troubles with channels, over those that work; never in a loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import backoff

from .domain.errors import NotNowError
from .domain.outcome import Candidate, Resolution
from .faults import log_fault
from .own_alerts import OwnAlerts

log = logging.getLogger("corec.alert_manager.watch")

News = Candidate | Resolution
Tell = Callable[[News], Awaitable[None]]
"""Stores an alert of our own or its end, or tells it without."""

STEADY = 60.0  # seconds for which a channel has to work before it is said to
_MOST = 1000  # alerts that wait to be stored; each channel makes a few an hour


class SelfWatch:
    """Stores alerts about channels as soon as alert_db takes them.

    An alert about a channel does not go to that channel, and is told once for as long as that is
    down: whatever becomes of it makes no other one.
    """

    def __init__(self, own_alerts: OwnAlerts) -> None:
        self._own_alerts = own_alerts
        self._waiting: asyncio.Queue[News] = asyncio.Queue(_MOST)
        self._down: set[str] = set()
        self._up: set[str] = set()  # of the others nothing is known, as after a start
        self._rising: dict[str, asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, tell: Tell) -> None:
        """Begins to store what waits."""
        self._task = asyncio.create_task(self._run(tell), name="self-watch")

    async def stop(self) -> None:
        """Ends; what still waits is about a channel that will say so again."""
        for timer in self._rising.values():
            timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """True where the task ended by itself."""
        return self._task is not None and self._task.done()

    def channel_down(self, name: str, reason: str) -> None:
        """Hears that a channel's breaker opened, or that it is disabled.

        One that is down, up and down again is down: that is told once, and its end when it lasts.
        """
        if timer := self._rising.pop(name, None):
            timer.cancel()
        self._up.discard(name)
        if name not in self._down:
            self._down.add(name)
            self._add(self._own_alerts.channel_down(name, reason, time.time()))

    def channel_up(self, name: str) -> None:
        """Hears that a channel works.

        An alert about it may be from before a start: it ends, too.
        """
        if name not in self._up and name not in self._rising:
            loop = asyncio.get_running_loop()
            self._rising[name] = loop.call_later(STEADY, self._is_up, name)

    def _is_up(self, name: str) -> None:
        del self._rising[name]
        self._down.discard(name)
        self._up.add(name)
        self._add(self._own_alerts.channel_up(name, time.time()))

    def given_up(self, name: str, count: int, reason: str, fallback: str | None = None) -> None:
        """Hears that messages of a channel were given up."""
        self._add(self._own_alerts.given_up(name, count, reason, time.time(), fallback))

    def _add(self, news: News) -> None:
        try:
            self._waiting.put_nowait(news)
        except asyncio.QueueFull:
            log.error("aviso sin guardar: %s", said(news))

    async def _run(self, tell: Tell) -> None:
        while True:
            news = await self._waiting.get()
            try:
                await _told(tell, news)
            except Exception as error:  # noqa: BLE001  (telling must not end the telling)
                log_fault(log, f"no se pudo guardar el aviso «{said(news)}»", error)


@backoff.on_exception(backoff.expo, NotNowError, max_value=30, logger=None)
async def _told(tell: Tell, news: News) -> None:
    await tell(news)


def said(news: News) -> str:
    """Returns what it says, in a line."""
    return news.message if isinstance(news, Resolution) else news.words.say().title
