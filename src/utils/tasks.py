"""Waiting for other people's coroutines without trusting them to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CANCEL_GRACE_SECONDS = 0.2


class AbortedError(RuntimeError):
    """The coroutine cancelled itself or called `sys.exit`."""


async def run_bounded(coro: Coroutine[Any, Any, T], seconds: float, what: str) -> T:
    """Run a coroutine as a task of its own, for at most `seconds`.

    Unlike `asyncio.timeout`, this also returns when the coroutine swallows its cancellation, and a
    CancelledError or SystemExit that it raises by itself ends neither the caller nor the loop.

    Raises:
        TimeoutError: it did not end in time; it was cancelled, and abandoned if it ignored that.
        AbortedError: it cancelled itself, or tried to end the process.
    """
    task = asyncio.create_task(_guarded(coro, what), name=what)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _cancel(task, what)
        raise
    if not task.done():
        await _cancel(task, what)
        raise TimeoutError(f"{what} no terminó en {seconds:g} s")
    if task.cancelled():
        raise AbortedError(f"{what} se canceló a sí mismo")
    return task.result()


async def _guarded(coro: Coroutine[Any, Any, T], what: str) -> T:
    try:
        return await coro
    except SystemExit as exc:
        raise AbortedError(f"{what} quiso terminar el proceso (sys.exit)") from exc


async def _cancel(task: asyncio.Task[Any], what: str) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
    if not task.done():
        _LOG.error("%s no atiende a su cancelación: se abandona", what)
    elif not task.cancelled() and (fault := task.exception()) is not None:
        _LOG.warning("%s falló mientras se cancelaba: %s: %s", what, type(fault).__name__, fault)
