"""Retrying with the `backoff` library, typed and with one log line for each wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import backoff
from backoff.types import Details

from src.utils.payload import mask

T = TypeVar("T")

MAX_WAIT_SECONDS = 5.0
ALWAYS_TOLD = 3
TELL_AGAIN_SECONDS = 60.0


async def retry(
    fn: Callable[[], Awaitable[T]],
    on: tuple[type[Exception], ...],
    *,
    what: str,
    max_seconds: float | None,
    log: logging.Logger,
) -> T:
    """Call `fn` until it succeeds, with full-jitter exponential waits of at most 5 s.

    The first three failed tries are logged, then one a minute: an outage may last a night.

    Args:
        fn: what to try; it must be safe to call again.
        on: the faults that are worth another try; any other ends it at once.
        what: the subject of the log lines (Spanish).
        max_seconds: no try begins after this long, but one that is under way may end later; None
            means never to give up.
        log: where each failed try is told.

    Raises:
        Exception: the last fault of `fn`, once the time is over.
    """
    told_at = float("-inf")

    def tell(details: Details) -> None:
        nonlocal told_at
        now = time.monotonic()
        if details["tries"] > ALWAYS_TOLD and now - told_at < TELL_AGAIN_SECONDS:
            return
        told_at = now
        fault = details.get("exception")  # set while a fault is handled, untyped
        log.warning(
            "%s: intento %d fallido (%s); otro en %.1f s",
            what,
            details["tries"],
            first_line(fault if isinstance(fault, BaseException) else None),
            details.get("wait", 0.0),
        )

    async def attempt() -> T:
        return await fn()

    retried: Callable[[], Awaitable[T]] = backoff.on_exception(
        backoff.expo,
        on,
        max_time=max_seconds,
        jitter=backoff.full_jitter,
        on_backoff=tell,
        logger=None,
        factor=0.25,
        max_value=MAX_WAIT_SECONDS,
    )(attempt)
    return await retried()


def first_line(fault: BaseException | None) -> str:
    """Name an exception in one line: its type and the first line of its text, logins hidden."""
    if fault is None:
        return "sin detalle"
    text = mask(str(fault)).strip()
    name = type(fault).__name__
    return f"{name}: {text.splitlines()[0]}" if text else name
