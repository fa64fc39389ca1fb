"""How often something happened: a sliding window over event time, right in any order of arrival."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from .model import Occurrence

CAPACITY = 2000  # events that one key remembers
MAX_COUNT = CAPACITY // 2  # that a limit may ask for: late events need more than one window


def occurred(
    past: Sequence[Occurrence], new: Occurrence, within: float
) -> tuple[tuple[Occurrence, ...], int]:
    """Adds an event.

    Args:
        past: what is remembered, in order of time.
        new: the event; it may be older than what is remembered.
        within: seconds of the window.

    Returns:
        What is to be remembered; and how many events the fullest window with `new` in it holds. An
        event that came by two roads counts once.
    """
    events = list(past)
    events.insert(bisect_left(events, new), new)
    times = [event.time for event in events]
    best = 0
    # Windows end at an event. A late one may complete windows that end after it.
    for end in range(bisect_left(times, new.time), len(events)):
        if times[end] - new.time >= within:
            break
        if end + 1 < len(events) and times[end + 1] == times[end]:
            continue
        begin = bisect_right(times, times[end] - within)
        best = max(best, _once_each(events[begin : end + 1]))
    # Twice the window: a late event needs what came before it.
    kept = bisect_left(times, times[-1] - 2 * within)
    return tuple(events[kept:][-CAPACITY:]), best


def _once_each(events: Sequence[Occurrence]) -> int:
    """Counts events; of those that came by several roads, what the busiest road brought."""
    if len({event.road for event in events}) == 1:
        return len(events)
    by_road = Counter((event.mark, event.road) for event in events)
    busiest: dict[int, int] = {}
    for (mark, _), count in by_road.items():
        busiest[mark] = max(busiest.get(mark, 0), count)
    return sum(busiest.values())
