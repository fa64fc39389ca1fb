"""A circuit breaker as a value: closed, open, or half open for one probe."""

from __future__ import annotations

from dataclasses import dataclass, replace

CLOSED, HALF_OPEN, OPEN = STATES = ("closed", "half_open", "open")


@dataclass(frozen=True, slots=True)
class Breaker:
    """Counts failures in a row; at `max_failures` it opens for `reset_timeout` seconds.

    After that time `wait` is 0 again: the next call is the probe. Its success closes the breaker,
    its failure opens it for another `reset_timeout`. All times are seconds of one monotonic clock.
    """

    max_failures: int
    reset_timeout: float
    failures: int = 0
    opened_at: float | None = None

    @property
    def is_open(self) -> bool:
        """True from the failure that opened it until a success."""
        return self.opened_at is not None

    def state(self, now: float) -> str:
        """Returns `closed`, `open`, or `half_open` once a probe is allowed."""
        if self.opened_at is None:
            return CLOSED
        return OPEN if self.wait(now) > 0 else HALF_OPEN

    def wait(self, now: float) -> float:
        """Returns the seconds until a call is allowed; 0 when it is allowed now."""
        if self.opened_at is None:
            return 0.0
        return max(0.0, self.opened_at + self.reset_timeout - now)

    def succeeded(self) -> Breaker:
        """Returns the breaker after a success."""
        return replace(self, failures=0, opened_at=None)

    def failed(self, now: float) -> Breaker:
        """Returns the breaker after a failure."""
        failures = self.failures + 1
        opened_at = now if failures >= self.max_failures else None
        return replace(self, failures=failures, opened_at=opened_at)
