"""How a value changed: against the last one of its key, or against the extremes of a window."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

CAPACITY = 500  # samples that one key remembers; a long steady fall or rise is thinned to that


class Sample(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A value and its event time (epoch seconds)."""

    time: float
    value: float


class Direction(enum.Enum):
    """Which changes count."""

    RISE = "rise"
    FALL = "fall"
    BOTH = "both"


def sampled(
    past: Sequence[Sample], new: Sample, within: float | None
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Adds a value.

    Args:
        past: what is remembered, in order of time.
        new: the value; one that is older than the newest is compared with what came before it.
        within: seconds of the window; None compares with the last value only.

    Returns:
        What is to be remembered; and the samples that `new` is to be compared with.
    """
    at = bisect_right(past, new.time, key=lambda sample: sample.time)
    if within is None:
        newest = at == len(past)
        return ((new,) if newest else tuple(past)), tuple(past[-1:]) if newest else ()
    base = tuple(sample for sample in past[:at] if sample.time >= new.time - within)
    oldest = max(new.time, past[-1].time if past else new.time) - within
    kept = [sample for sample in (*past[:at], new, *past[at:]) if sample.time >= oldest]
    return _extremes(kept), base


def difference(
    base: Sequence[Sample], value: float, direction: Direction, percent: bool
) -> tuple[float, Sample] | None:
    """Returns the largest change to `value`, and the sample that it is a change from.

    In percent of that sample where asked, else as a plain difference; None where nothing can be
    compared: no sample, or a percentage of zero.
    """
    ends = []
    if base and direction is not Direction.RISE:
        ends.append(max(base, key=lambda sample: sample.value))
    if base and direction is not Direction.FALL:
        ends.append(min(base, key=lambda sample: sample.value))
    changes = [
        ((value - sample.value) / unit, sample)
        for sample in ends
        if (unit := abs(sample.value) / 100 if percent else 1.0)  # of next to nothing, it is zero
    ]
    return max(changes, key=lambda change: abs(change[0]), default=None)


def _extremes(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Leaves out what can be neither the highest nor the lowest of a window any more."""
    kept: list[Sample] = []
    highest, lowest = float("-inf"), float("inf")
    for sample in reversed(samples):
        if sample.value > highest or sample.value < lowest:
            kept.append(sample)
        highest, lowest = max(highest, sample.value), min(lowest, sample.value)
    kept.reverse()
    while len(kept) > CAPACITY:
        del kept[1:-1:2]  # the oldest and the newest stay: they are the extremes of a steady run
    return tuple(kept)
