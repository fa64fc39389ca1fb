"""Dead letters, and the time of events whose own cannot be believed."""

from __future__ import annotations

from typing import TypeGuard

from .domain.model import Event, RawEvent
from .domain.outcome import DeadLetter

MAX_CHANNEL = 50  # characters; the width of `canal`
_EARLIEST = 946_684_800.0  # 2000-01-01: an older event time is a broken clock, not an event
# Seconds that a writer's clock may be ahead. What rules remember of a time that is still to come
# would stand in the way of everything until then.
_AHEAD = 60.0


def believable(timestamp: float | None, now: float) -> TypeGuard[float]:
    """Says whether it is the time of an event that is there at `now` (both epoch seconds)."""
    return timestamp is not None and _EARLIEST <= timestamp <= now + _AHEAD  # no NaN is


def event_time(timestamp: float | None, now: float) -> float:
    """Returns the event's own time, or `now` where that cannot be believed (epoch seconds)."""
    return timestamp if believable(timestamp, now) else now


def dead_letter(event: RawEvent | Event, reason: str, timestamp: float) -> DeadLetter:
    """Returns the dead letter of an event; `timestamp` in epoch seconds, `reason` for a person."""
    return DeadLetter(
        source=event.source,
        event_id=event.event_id,
        channel=event.channel[:MAX_CHANNEL],
        reason=reason,
        timestamp=timestamp,
        instance_id=event.instance_id,
        size=event.size,
    )
