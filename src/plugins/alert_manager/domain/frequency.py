"""How often something happened: a sliding window over event time, in any order of arrival."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from .dedupe import Road
from .model import Occurrence

CAPACITY = 2000  # events that one key remembers
MAX_COUNT = CAPACITY // 2  # that a limit may ask for: late events need more than one window
LATE_KEPT = 86400.0  # seconds behind the newest event in which late ones are remembered


def counted(
    past: Sequence[Occurrence], late: Sequence[Occurrence], new: Occurrence, within: float
) -> tuple[tuple[Occurrence, ...], tuple[Occurrence, ...], int]:
    """Adds an event, which may be of a backlog that newer events have overtaken.

    Args:
        past: what is remembered, in order of time.
        late: what is remembered of events that came long after newer ones, in order of time.
        new: the event.
        within: seconds of the window.

    Returns:
        Both as they are to be remembered; and the count, as of `occurred`.
    """
    newest = past[-1].time if past else new.time
    is_late = new.time < newest - 2 * within
    if not late and not is_late:
        kept, count = occurred(past, new, within)
        return kept, (), count
    around = sorted(e for e in (*late, *past) if abs(e.time - new.time) < within)
    _, count = occurred(around, new, within)
    if is_late:
        return tuple(past), occurred(late, new, within)[0], count
    kept = occurred(past, new, within)[0]
    return kept, tuple(late) if late[-1].time > newest - LATE_KEPT else (), count


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
    if past and past[-1] < new and past[-1].road == new.road:  # nearly always it is the newest
        recent = past[bisect_left(past, new.time - 3 * within, key=_time) :]
        begin = bisect_right(recent, new.time - within, key=_time)
        if set(map(_road, recent[begin:])) <= {new.road}:
            return (*recent, new)[-CAPACITY:], len(recent) - begin + 1
    events = list(past)
    # A stream's entry has its own time: the same once more was read again, not written again.
    if new.road != Road.STREAM or new not in past:
        events.insert(bisect_left(events, new), new)
    times = [event.time for event in events]
    # Windows end at an event. A late one may complete windows that end after it.
    first = bisect_right(times, new.time) - 1
    last = bisect_left(times, new.time + within) - 1
    if len({event.road for event in events}) == 1:
        best = max(
            end + 1 - bisect_right(times, times[end] - within) for end in range(first, last + 1)
        )
    else:
        best = _fullest(events, times, first, last, within)
    # Three times the window: an event that is late by two needs what came before it.
    kept = bisect_left(times, times[-1] - 3 * within)
    return tuple(events[kept:][-CAPACITY:]), best


def _fullest(
    events: Sequence[Occurrence], times: Sequence[float], first: int, last: int, within: float
) -> int:
    """Returns the most that a window holds which ends at one of these events.

    Of what came by several roads, what the busiest road brought counts. One walk: each event comes
    into the window once and leaves it once.
    """
    begin = bisect_right(times, times[first] - within)
    counts = Counter(map(_kind, events[begin : first + 1]))
    most: dict[int, int] = {}
    for (mark, _), count in counts.items():
        if count > most.get(mark, 0):
            most[mark] = count
    best = total = sum(most.values())
    for end in range(first + 1, last + 1):
        kind = mark, _ = _kind(events[end])
        counts[kind] += 1
        if counts[kind] > most.get(mark, 0):
            most[mark] = counts[kind]
            total += 1
        while times[begin] <= times[end] - within:
            kind = mark, _ = _kind(events[begin])
            counts[kind] -= 1
            if counts[kind] + 1 == most[mark]:
                most[mark] = max(counts[mark, road] for road in _ROADS)
                total -= counts[kind] + 1 - most[mark]
            begin += 1
        best = max(best, total)
    return best


_time, _road = operator.attrgetter("time"), operator.attrgetter("road")
_kind = operator.attrgetter("mark", "road")
_ROADS = tuple(map(int, Road))
