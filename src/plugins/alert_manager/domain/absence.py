"""Events that do not come: until when one is awaited, and what is remembered meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from .time_intervals import Intervals, at


@dataclass(frozen=True, slots=True)
class Awaited:
    """When an event has to come: `every` so often, or by a time of day.

    Attributes:
        intervals: where time counts; for a time of day, its weekdays and its zone alone.
        every: seconds of counted time without an event after which it is absent.
        by: minutes since midnight until which it has to come.
        within: seconds before `by` in which it may come; None: since `by` of the day before.
    """

    intervals: Intervals
    every: float | None = None
    by: int | None = None
    within: float | None = None

    def deadline(self, last: float) -> float:
        """Returns the moment at which the next event is missed (epoch seconds).

        `last` is the time of the last event.
        """
        if self.by is not None:
            return self._next_time_of_day(last, self.by)
        missing = self.every or 0.0
        for begin, end in self.intervals.since(last):
            counted = max(begin, last)
            if missing <= end - counted:
                return counted + missing
            missing -= end - counted
        raise AssertionError("intervals have no end")

    def _next_time_of_day(self, last: float, by: int) -> float:
        zone = self.intervals.zone
        day = datetime.fromtimestamp(last, zone).date()
        while True:
            if day.weekday() in self.intervals.weekdays:
                deadline = at(day, by, zone)
                begin = at(day - timedelta(days=1), by, zone)
                if self.within is not None:
                    begin = deadline - self.within
                if begin >= last:
                    return deadline
            day += timedelta(days=1)


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of the events of one key.

    Attributes:
        last: time of the newest one (epoch seconds).
        fields: those of its fields that make the key, safe to show.
        absent: since when it is absent and told so; None while it is not.
        awaited_by: stands for what the rule asked of them: by another one, others are awaited.
    """

    last: float
    fields: Mapping[str, Any] = {}
    absent: float | None = None
    awaited_by: int = 0


def heard(
    before: Heard, moment: float, awaited: Awaited
) -> tuple[Heard, float | None, float | None]:
    """Takes an event.

    Args:
        before: what is remembered.
        moment: the event's time (epoch seconds).
        awaited: when it has to come.

    Returns:
        What is to be remembered; since when it was absent, where nobody was told yet (a backlog
        shows only now that it was); and since when what is over now was absent.
    """
    if moment <= before.last:
        return before, None, None
    after = msgspec.structs.replace(before, last=moment, absent=None)
    if before.absent is not None:
        if moment < before.absent:  # it came late: it was absent all the same
            return msgspec.structs.replace(before, last=moment), None, None
        return after, None, before.absent
    missed = awaited.deadline(before.last) if _may_be_late(before, moment, awaited) else moment
    return (after, missed, missed) if missed < moment else (after, None, None)


def _may_be_late(before: Heard, moment: float, awaited: Awaited) -> bool:
    """Says quickly where no deadline can have passed: events come by the thousand."""
    return awaited.every is None or moment - before.last > awaited.every
