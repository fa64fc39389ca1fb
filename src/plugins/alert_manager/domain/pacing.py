"""How fast, and when, a channel tells: a token bucket, and hours in which people are left alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .digest import NAMED
from .time_intervals import Intervals


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """So many messages a second on average, and a few more at once; as a value.

    Attributes:
        rate: tokens a second.
        burst: tokens that it holds at the most.
        tokens: in it at `at`.
        at: monotonic seconds.
    """

    rate: float
    burst: int
    tokens: float
    at: float = 0.0

    @classmethod
    def full(cls, per_minute: float, burst: int) -> TokenBucket:
        """Returns a bucket that nothing was taken from."""
        return cls(per_minute / 60.0, burst, float(burst))

    def wait(self, now: float) -> float:
        """Returns the seconds until there is a token; 0 when there is one."""
        return max(0.0, (1.0 - self._tokens(now)) / self.rate)

    def taken(self, now: float) -> TokenBucket:
        """Returns it with one token less."""
        return replace(self, tokens=self._tokens(now) - 1.0, at=now)

    def _tokens(self, now: float) -> float:
        return min(float(self.burst), self.tokens + (now - self.at) * self.rate)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a channel keeps to.

    Attributes:
        per_minute: messages (not alerts) on average; None: as fast as its server takes them.
        burst: messages at once.
        digest_above: alerts that may wait before they are told in one message; None: any number.
        active: when all alerts are told; at other times, critical ones alone. None: always.
        fallback: the channel that tells urgent alerts while this one cannot; None: nobody.
        names: critical alerts that one message has room to name.
        target: stands for the channel's address: what a server asks of one is asked of no other.
    """

    per_minute: float | None = None
    burst: int = 1
    digest_above: int | None = None
    active: Intervals | None = None
    fallback: str | None = None
    names: int = NAMED
    target: str = ""

    def bucket(self) -> TokenBucket | None:
        """Returns the bucket that messages are taken from."""
        return None if self.per_minute is None else TokenBucket.full(self.per_minute, self.burst)

    def is_quiet(self, now: float) -> bool:
        """Says whether people are left alone now (epoch seconds)."""
        return self.active is not None and self.active.latest(now) < now

    def max_age(self, max_age: float, now: float) -> float:
        """Returns the age (seconds) at which a message is too old, if `max_age` is so by day.

        What waited through quiet hours is not too old at their end.
        """
        if self.active is None:
            return max_age
        return now - self.active.latest(now - max_age)
