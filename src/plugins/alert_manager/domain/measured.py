"""The numbers that a rule compared over time, and how many alerts a limit would have made."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from .rule_spec import COMPARISONS, RISING, Measure

SHARES = (0.1, 0.01, 0.001)  # of all values: how many would reach a suggested limit
_DAY = 86400.0  # seconds


@dataclass(slots=True)
class Series:
    """What one rule compared; 24 bytes a number, as there may be millions.

    Attributes:
        times: event times (epoch seconds), in order of arrival.
        values: the numbers, by which limits are compared: without the sign where a rule ignores it.
        kinds: equal for what would be counted as a repeat.
    """

    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    kinds: array[int] = field(default_factory=lambda: array("q"))

    def add(self, time: float, value: float, kind: bytes) -> None:
        """Takes the next number."""
        self.times.append(time)
        self.values.append(value)
        self.kinds.append(int.from_bytes(kind[:8], signed=True))  # of a hash: as good a name


def alerts_at(
    series: Series, measure: Measure, limit: float, clear: float | None, window: float
) -> int:
    """Returns how many alerts a limit would have made.

    Args:
        series: the numbers.
        measure: says how they are compared.
        limit: the number that would have to be reached.
        clear: beyond it an alert is over; None: an alert is one event, and its repeats.
        window: seconds in which a repeat is counted instead of told.
    """
    reached = COMPARISONS[measure.comparison]
    rising = measure.comparison in RISING
    over = _over(rising, limit, clear)
    began: dict[int, float] = {}
    count = 0
    for time, value, kind in zip(series.times, series.values, series.kinds, strict=True):
        first = began.get(kind)
        if not reached(value, limit):
            if first is not None and over is not None and over(value):
                del began[kind]
        elif first is None or (over is None and abs(time - first) >= window):
            began[kind] = time
            count += 1
    return count


def _over(rising: bool, limit: float, clear: float | None) -> Callable[[float], bool] | None:
    if clear is None:
        return None
    # A suggested limit may lie beyond it: then what does not reach the limit is over.
    end = min(clear, limit) if rising else max(clear, limit)
    compare = operator.lt if rising else operator.gt
    return lambda value: compare(value, end)


def limits(series: Series, measure: Measure) -> list[tuple[float, float]]:
    """Returns limits that a share of all numbers would have reached: (share, limit).

    Of fewer than 100 numbers none says what one in 100 reaches.
    """
    ordered = sorted(series.values, reverse=measure.comparison in RISING)
    return [
        (share, ordered[int(share * (len(ordered) - 1))])
        for share in SHARES
        if len(ordered) * share >= 1
    ]


def per_day(count: int, begin: float, end: float) -> float:
    """Returns a rate; `begin` and `end` in epoch seconds. Less than a day counts as one."""
    return count * _DAY / max(end - begin, _DAY)
