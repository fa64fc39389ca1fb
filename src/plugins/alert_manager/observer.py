"""Looks now and then at what a scrape must not wait for, and keeps what it saw."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from .domain.errors import NotNowError
from .faults import log_fault
from .health import Health, Part

log = logging.getLogger("corec.alert_manager.web")

INTERVAL = 5.0  # seconds between two looks at the parts
_DEPTH_EVERY = 3  # looks; the queue may be long
_LIMIT = 9.0  # seconds that counting it may take
_STALE = 60.0  # seconds after which what was seen says nothing any more

T = TypeVar("T")


class Depth(NamedTuple):
    """What waits in alert_db to be told.

    Attributes:
        severity: as in alert_db, 4 (crítica) to 1 (baja).
        waiting: number of messages.
        oldest: seconds that the oldest has been waiting.
    """

    channel: str
    severity: int
    waiting: int
    oldest: float


class _Seen(NamedTuple, Generic[T]):
    what: T
    at: float


class Observer:
    """A task that asks for the parts' health and for the queue's depth.

    Args:
        health: says how the parts are.
        depth: counts what waits; may raise `NotNowError`.
    """

    def __init__(self, health: Health, depth: Callable[[], Awaitable[Sequence[Depth]]]) -> None:
        self._health = health
        self._depth = depth
        self._parts: _Seen[Mapping[str, Part]] | None = None
        self._depths: _Seen[Sequence[Depth]] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def parts(self) -> Mapping[str, Part] | None:
        """The parts as last seen; None where that is too long ago."""
        return _fresh(self._parts)

    @property
    def depths(self) -> Sequence[Depth] | None:
        """What waits, as last seen; None where that is too long ago."""
        return _fresh(self._depths)

    @property
    def ended(self) -> bool:
        """True where the task ended by itself."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run(), name="observer")

    async def stop(self) -> None:
        """Looks no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        looks = 0
        while True:
            try:
                await self._look(looks % _DEPTH_EVERY == 0)
            except Exception as error:  # noqa: BLE001  (no fault of ours may end the looking)
                log_fault(log, "fallo inesperado al observar las partes", error)
            looks += 1
            await asyncio.sleep(INTERVAL)

    async def _look(self, with_depth: bool) -> None:
        report = await self._health.report()
        self._parts = _Seen(report.parts, time.monotonic())
        if not with_depth:
            return
        try:
            async with asyncio.timeout(_LIMIT):
                self._depths = _Seen(await self._depth(), time.monotonic())
        except (NotNowError, TimeoutError) as error:
            log.debug("no se cuenta lo que espera en la cola: %s", error)


def _fresh(seen: _Seen[T] | None) -> T | None:
    return seen.what if seen is not None and time.monotonic() - seen.at < _STALE else None
