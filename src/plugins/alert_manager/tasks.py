"""How tasks end at a stop: by themselves in the time they have, or cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


async def finished(tasks: Iterable[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """Waits for tasks; returns those that are not done after `seconds`."""
    waiting = list(tasks)
    if not waiting:
        return set()
    _, late = await asyncio.wait(waiting, timeout=seconds)
    return late


async def end_task(task: asyncio.Task[None] | None, seconds: float) -> None:
    """Waits until a task that was told to stop has ended; after `seconds` it is cancelled.

    Args:
        task: None where it never began.
        seconds: that it may take to end by itself.
    """
    if task is None:
        return
    for late in await finished([task], seconds):
        late.cancel()
    await asyncio.gather(task, return_exceptions=True)
