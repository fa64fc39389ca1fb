"""Measures the event loop's lag: how late it gets to what is due."""

from __future__ import annotations

import asyncio
import time

from .metrics import Metrics

_INTERVAL = 0.25  # seconds


class LoopLag:
    """A task that sleeps, and observes how much too late it wakes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to measure."""
        self._task = asyncio.create_task(self._run(), name="loop-lag")

    async def stop(self) -> None:
        """Ends measuring."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            due = time.perf_counter() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            self._metrics.loop_lag.observe(max(0.0, time.perf_counter() - due))
