"""How a value changed: against the last one of its key, or against the extremes of a window."""

from __future__ import annotations

import enum
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from .frequency import LATE_KEPT

LATENESS = 60.0  # seconds by which a value may come late and still find all that was before it
_PRUNED_EACH = 32  # samples
CAPACITY = 500  # samples that one key remembers; a long steady fall or rise is thinned to that


class Sample(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A value and its event time (epoch seconds)."""

    time: float
    value: float


_time = operator.attrgetter("time")
_value = operator.attrgetter("value")


class Direction(enum.Enum):
    """Which changes count."""

    RISE = "rise"
    FALL = "fall"
    BOTH = "both"


def compared(
    past: Sequence[Sample],
    late: Sequence[Sample],
    new: Sample,
    within: float | None,
    direction: Direction,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """Adds a value, which may be of a backlog that newer values have overtaken.

    Args:
        past: what is remembered, in order of time.
        late: what is remembered of values that came long after newer ones, in order of time.
        new: the value.
        within: as of `sampled`.
        direction: as of `sampled`.

    Returns:
        Both as they are to be remembered; and the samples that `new` is to be compared with.
    """
    newest = past[-1].time if past else new.time
    if within is not None and new.time < newest - within:
        late, base = sampled(late, new, within, direction)
        return tuple(past), late, base
    kept, base = sampled(past, new, within, direction)
    if within is None or not late:
        return kept, (), base
    near = tuple(s for s in late if new.time - within <= s.time <= new.time)
    return kept, tuple(late) if late[-1].time > newest - LATE_KEPT else (), (*near, *base)


def sampled(
    past: Sequence[Sample], new: Sample, within: float | None, direction: Direction
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Adds a value.

    Args:
        past: what is remembered, in order of time.
        new: the value; one that is older than the newest is compared with what came before it, as
            far as that is remembered.
        within: seconds of the window; None compares with the last value only.
        direction: of the changes that are looked for.

    Returns:
        What is to be remembered; and the samples that `new` is to be compared with.
    """
    newest = not past or past[-1].time <= new.time
    if within is None:
        return ((new,) if newest else tuple(past)), tuple(past[-1:]) if newest else ()
    at = len(past) if newest else bisect_right(past, new.time, key=_time)
    base = tuple(past[bisect_left(past, new.time - within, hi=at, key=_time) : at])
    last = new.time if newest else past[-1].time
    oldest = bisect_left(past, last - within - LATENESS, key=_time)  # a late value looks back, too
    kept = [*past[oldest:at], new, *past[max(at, oldest) :]] if at >= oldest else [*past[oldest:]]
    if len(kept) % _PRUNED_EACH == 0:  # now and then: it takes as long as looking at all of them
        recent = bisect_left(kept, last - LATENESS, key=_time)
        kept = [*_extremes(kept[:recent], direction), *kept[recent:]]
    return tuple(_thinned(kept, direction)), base


def difference(
    base: Sequence[Sample], value: float, direction: Direction, percent: bool
) -> tuple[float, Sample] | None:
    """Returns the largest change to `value`, and the sample that it is a change from.

    In percent of that sample where asked, else as a plain difference; None where nothing can be
    compared: no sample, or a percentage of zero.
    """
    ends = []
    if base and direction is not Direction.RISE:
        ends.append(max(base, key=_value))
    if base and direction is not Direction.FALL:
        ends.append(min(base, key=_value))
    changes = [
        ((value - sample.value) / unit, sample)
        for sample in ends
        if (unit := abs(sample.value) / 100 if percent else 1.0)  # of next to nothing, it is zero
    ]
    return max(changes, key=lambda change: abs(change[0]), default=None)


def _extremes(samples: Sequence[Sample], direction: Direction) -> list[Sample]:
    """Leaves out what can be no extreme of a window any more, on the side that counts."""
    kept: list[Sample] = []
    highest, lowest = float("-inf"), float("inf")
    for sample in reversed(samples):
        high = sample.value > highest and direction is not Direction.RISE
        low = sample.value < lowest and direction is not Direction.FALL
        if high or low:
            kept.append(sample)
        highest, lowest = max(highest, sample.value), min(lowest, sample.value)
    kept.reverse()
    return kept


def _thinned(samples: list[Sample], direction: Direction) -> list[Sample]:
    """Bounds what is remembered, without losing the extremes of the window as it is now."""
    if len(samples) <= CAPACITY:
        return samples
    sides = [direction] if direction is not Direction.BOTH else [Direction.RISE, Direction.FALL]
    kept: set[Sample] = set()
    for side in sides:
        run = _extremes(samples, side)  # it only rises or falls: its ends are its extremes
        while len(run) > CAPACITY // 4:
            del run[1:-1:2]
        kept.update(run)
    return sorted(kept)
