"""How long to wait before the next attempt."""

from __future__ import annotations


def retry_delay(attempt: int, jitter: float, base: float = 2.0, cap: float = 900.0) -> float:
    """Returns the seconds to wait after failed attempt number `attempt` (1 is the first).

    Full jitter: uniform between 0 and an exponentially growing ceiling, so that many waiters do not
    come back in step. The ceiling is capped before the jitter is applied, never after it, or
    every late waiter would wait the same time.

    Args:
        attempt: 1 or more.
        jitter: a random number in [0, 1); passed in, so that this stays a pure function.
        base: the first ceiling, in seconds.
        cap: the last ceiling, in seconds.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return ceiling * jitter
