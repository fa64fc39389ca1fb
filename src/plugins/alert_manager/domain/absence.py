"""Events that do not come: until when one is awaited, and what is remembered meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from .dedupe import TWIN_WINDOW
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
        counted: from when the next one is awaited, where that is not `last`.
        late: when the event came that was too late, and that `counted` is about.
    """

    last: float
    fields: Mapping[str, Any] = {}
    absent: float | None = None
    awaited_by: int = 0
    counted: float | None = None
    late: float | None = None

    def deadline(self, awaited: Awaited) -> float:
        """Returns the moment at which the next event is missed (epoch seconds)."""
        return awaited.deadline(self.last if self.counted is None else self.counted)


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
    if before.absent is not None:
        if moment < before.absent and not _in_time(before.absent, moment, awaited):
            # It came late: it was absent all the same.
            return msgspec.structs.replace(before, last=moment), None, None
        return _after(before, moment, awaited, before.absent), None, before.absent
    missed = before.deadline(awaited) if _may_be_late(before, moment, awaited) else moment
    ended = missed if missed < moment else None
    return _after(before, moment, awaited, ended), ended, ended


def _after(before: Heard, moment: float, awaited: Awaited, ended: float | None) -> Heard:
    """Returns what is remembered after an event, which may have ended an absence."""
    counted = late = None
    if ended is not None and ended < moment and awaited.by is not None and awaited.within is None:
        # A settlement that came too late is that of its night, and not the next one's too.
        counted, late = ended, moment
        while (following := awaited.deadline(counted)) <= moment:
            counted = following
    elif before.late is not None and moment < before.late + TWIN_WINDOW:
        counted, late = before.counted, before.late  # the same one, by another road
    return msgspec.structs.replace(before, last=moment, absent=None, counted=counted, late=late)


def _in_time(absent: float, moment: float, awaited: Awaited) -> bool:
    """Says whether an event that was seen late had come by its time of day all the same."""
    return awaited.by is not None and awaited.deadline(moment) > absent


def _may_be_late(before: Heard, moment: float, awaited: Awaited) -> bool:
    """Says quickly where no deadline can have passed: events come by the thousand."""
    return awaited.every is None or moment - before.last > awaited.every
