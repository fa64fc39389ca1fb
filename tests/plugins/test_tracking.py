"""What rules remember: windows of occurrences, changes of a value, states that last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.change import (
    CAPACITY,
    Direction,
    Sample,
    compared,
    difference,
    sampled,
)
from src.plugins.alert_manager.domain.frequency import CAPACITY as REMEMBERED
from src.plugins.alert_manager.domain.frequency import MAX_COUNT, counted, occurred
from src.plugins.alert_manager.domain.hysteresis import Lasting, Step, step
from src.plugins.alert_manager.domain.model import Occurrence, Severity
from tests.support.pace import seconds

EVENTOS, STREAM = 0, 1
TIMES = st.lists(st.integers(0, 3000).map(float), min_size=1, max_size=30)


def counts(events: Sequence[Occurrence], within: float = 600.0) -> list[int]:
    past: tuple[Occurrence, ...] = ()
    found = []
    for event in events:
        past, count = occurred(past, event, within)
        found.append(count)
    return found


@pytest.mark.parametrize(("last", "expected"), [(599.9, 5), (600.0, 4), (600.1, 4), (1000.0, 1)])
def test_a_window_is_open_at_its_far_end(last: float, expected: int) -> None:
    times = [0.0, 100.0, 200.0, 300.0, last]
    assert counts([Occurrence(t, i, EVENTOS) for i, t in enumerate(times)])[-1] == expected


def test_an_event_that_came_by_two_roads_counts_once() -> None:
    events = [Occurrence(float(i), i, road) for i in range(5) for road in (EVENTOS, STREAM)]
    assert counts(events)[-1] == 5
    same = [Occurrence(float(i), 7, road) for i in range(5) for road in (EVENTOS, STREAM)]
    assert counts(same)[-1] == 5  # five equal events are five


@given(TIMES)
def test_every_order_of_arrival_reaches_the_same_highest_count(times: list[float]) -> None:
    events = [Occurrence(t, i, EVENTOS) for i, t in enumerate(times)]
    newest = max(times)
    near = [e for e in events if e.time > newest - 600]  # what is older may be forgotten
    in_order = max(counts(sorted(near)))
    assert max(counts(near)) == in_order
    assert max(counts(near[::-1])) == in_order
    assert in_order == max(sum(0 <= e.time - f.time < 600 for f in near) for e in near)


@given(TIMES, st.integers(0, 30))
def test_windows_go_on_where_they_were_stored(times: list[float], cut: int) -> None:
    events = [Occurrence(t, i, EVENTOS) for i, t in enumerate(times)]
    past: tuple[Occurrence, ...] = ()
    for event in events[:cut]:
        past, _ = occurred(past, event, 600.0)
    continued = []
    for event in events[cut:]:
        past, count = occurred(past, event, 600.0)
        continued.append(count)
    assert continued == counts(events)[cut:]


def slowly(events: Sequence[Occurrence], new: Occurrence, within: float) -> int:
    """The fullest window with `new` in it, counted one by one."""
    best = 0
    for end in (event.time for event in events if new.time <= event.time < new.time + within):
        inside = Counter((e.mark, e.road) for e in events if end - within < e.time <= end)
        marks = {mark for mark, _ in inside}
        best = max(best, sum(max(n for (m, _), n in inside.items() if m == mark) for mark in marks))
    return best


SOME = st.lists(
    st.builds(Occurrence, st.integers(0, 30).map(float), st.integers(0, 3), st.integers(0, 2)),
    min_size=1,
    max_size=25,
)


@given(SOME | SOME.map(sorted))
def test_the_fullest_window_is_the_one_that_counting_finds(events: list[Occurrence]) -> None:
    past: tuple[Occurrence, ...] = ()
    for new in events:
        past, count = occurred(past, new, 10.0)
        assert count == slowly(past, new, 10.0)


def test_late_twins_of_a_full_window_take_no_time() -> None:
    full: tuple[Occurrence, ...] = ()
    for i in range(1000):
        full, _ = occurred(full, Occurrence(i * 0.6, i, EVENTOS), 600.0)

    def twins() -> None:
        past = full
        for i in range(200):
            past, count = occurred(past, Occurrence(i * 0.6, i, STREAM), 600.0)
        assert count == 1000

    assert seconds(twins) < 0.8  # it was a minute


def test_an_entry_that_is_read_again_counts_once() -> None:
    entry, row = Occurrence(1.0, 7, STREAM), Occurrence(1.0, 7, EVENTOS)
    assert counts([entry, entry, entry]) == [1, 1, 1]
    assert counts([row, row, row]) == [1, 2, 3]  # rows with the same content are several


def test_a_storm_is_bounded_and_counted_beyond_any_limit() -> None:
    past: tuple[Occurrence, ...] = ()
    for i in range(REMEMBERED + 100):
        past, count = occurred(past, Occurrence(i / 100, i, EVENTOS), 600.0)
    assert len(past) == REMEMBERED
    assert count > MAX_COUNT


def through(events: Sequence[Occurrence], within: float = 600.0) -> list[int]:
    """Counts as a rule does, which remembers what came late, too."""
    past: tuple[Occurrence, ...] = ()
    late: tuple[Occurrence, ...] = ()
    found = []
    for event in events:
        past, late, count = counted(past, late, event, within)
        found.append(count)
    return found


@given(TIMES, st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_backlog_that_newer_events_overtook_counts_as_without_them(
    times: list[float], mixed: list[bool]
) -> None:
    backlog = [Occurrence(time, i, EVENTOS) for i, time in enumerate(sorted(times))]
    alone = dict(zip(backlog, counts(backlog), strict=True))
    # One fresh event first, and more between those of the backlog.
    events, fresh = [Occurrence(9000.0, -1, EVENTOS)], 9000.0
    for event, also in zip(backlog, mixed, strict=False):
        events.append(event)
        if also:
            fresh += 10.0
            events.append(Occurrence(fresh, -int(fresh), EVENTOS))
    found = dict(zip(events, through(events), strict=True))
    assert {event: found[event] for event in backlog} == alone


@given(TIMES)
def test_in_order_it_counts_the_same(times: list[float]) -> None:
    events = [Occurrence(time, i, EVENTOS) for i, time in enumerate(sorted(times))]
    assert through(events) == counts(events)


def test_a_backlog_reaches_into_what_newer_events_left() -> None:
    newest = Occurrence(2000.0, 99, EVENTOS)
    backlog = [Occurrence(700.0 + 50.0 * n, n, EVENTOS) for n in range(10)]  # across 2000 - 2 * 600
    assert through([newest, *backlog])[1:] == list(range(1, 11))


def changes(
    samples: Sequence[Sample], within: float | None, direction: Direction, percent: bool = True
) -> list[float | None]:
    past: tuple[Sample, ...] = ()
    late: tuple[Sample, ...] = ()
    found = []
    for sample in samples:
        past, late, base = compared(past, late, sample, within, direction)
        change = difference(base, sample.value, direction, percent)
        found.append(None if change is None else round(change[0], 6))
    return found


def test_a_fall_is_measured_from_the_highest_of_the_window() -> None:
    prices = [Sample(0, 100.0), Sample(300, 104.0), Sample(500, 98.0), Sample(899, 95.68)]
    assert changes(prices, 600, Direction.FALL) == [None, 4.0, pytest.approx(-5.769231), -8.0]
    # The highest is 601 s ago.
    prices[-1] = Sample(901, 95.68)
    assert changes(prices, 600, Direction.FALL)[-1] == pytest.approx(-2.367347)


@pytest.mark.parametrize(
    ("direction", "percent", "expected"),
    [
        (Direction.RISE, True, 25.0),
        (Direction.FALL, True, -50.0),
        (Direction.BOTH, True, -50.0),
        (Direction.RISE, False, 20.0),
        (Direction.FALL, False, -100.0),
    ],
)
def test_directions(direction: Direction, percent: bool, expected: float) -> None:
    samples = [Sample(0, 80.0), Sample(1, 200.0), Sample(2, 100.0)]
    assert changes(samples, 600, direction, percent)[-1] == expected


def test_without_a_window_the_last_value_counts_and_late_ones_do_not() -> None:
    samples = [Sample(0, 100.0), Sample(9, 50.0), Sample(5, 500.0), Sample(10, 55.0)]
    assert changes(samples, None, Direction.BOTH) == [None, -50.0, None, 10.0]


def test_no_percentage_of_zero() -> None:
    assert changes([Sample(0, 0.0), Sample(1, 5.0)], 600, Direction.BOTH) == [None, None]
    assert changes([Sample(0, 0.0), Sample(1, 5.0)], 600, Direction.BOTH, False) == [None, 5.0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 99)), min_size=1, max_size=60))
def test_what_is_forgotten_is_never_missed(steps: list[tuple[int, int]]) -> None:
    time, samples = 0.0, []
    for after, value in steps:
        time += after
        samples.append(Sample(time, float(value)))
    for direction in Direction:
        found = changes(samples, 600, direction, percent=False)
        for i, sample in enumerate(samples):
            base = [s for s in samples[:i] if s.time >= sample.time - 600]
            change = difference(base, sample.value, direction, percent=False)
            assert found[i] == (None if change is None else change[0])


def test_a_long_steady_run_is_bounded_and_keeps_its_ends() -> None:
    for direction in (Direction.RISE, Direction.BOTH):
        past: tuple[Sample, ...] = ()
        for i in range(3 * CAPACITY):
            past, base = sampled(past, Sample(float(i), float(i)), 10_000, direction)
        assert len(past) <= CAPACITY
        assert difference(base, 0.0, Direction.RISE, percent=False) == (0.0, Sample(0.0, 0.0))


@pytest.mark.parametrize("ticks", [1, 8, 20, 50])  # a second
@pytest.mark.parametrize("direction", [Direction.FALL, Direction.BOTH])
def test_however_fast_values_come_the_highest_is_remembered(
    ticks: int, direction: Direction
) -> None:
    noise = Random(ticks)
    values = [100.0, 105.0, *(104.9 - 8.8 * n / (120 * ticks) for n in range(120 * ticks)), 96.1]
    samples = [
        Sample(n / ticks, value if value == 105.0 else value - noise.random() / 50)
        for n, value in enumerate(values)
    ]
    found = changes(samples, 600, direction)
    assert found[-1] is not None
    assert found[-1] <= -8.47  # from 105


def test_only_what_a_direction_needs_is_remembered() -> None:
    def remembered(direction: Direction) -> int:
        past: tuple[Sample, ...] = ()
        for i in range(CAPACITY):
            past, _ = sampled(past, Sample(float(i), float(i)), 10_000, direction)
        return len(past)

    rise, fall, both = (remembered(direction) for direction in Direction)
    assert fall < 100 < rise == both == CAPACITY


def test_a_fall_in_a_backlog_that_a_newer_value_overtook_is_found() -> None:
    backlog = [Sample(0.0, 100.0), Sample(30.0, 80.0), Sample(60.0, 50.0)]
    newer = [Sample(9000.0, 49.0), Sample(9001.0, 49.0)]
    found = changes([newer[0], backlog[0], newer[1], *backlog[1:]], 600, Direction.FALL)
    assert found == [None, None, 0.0, -20.0, -50.0]


def test_a_late_value_is_compared_with_what_came_before_it() -> None:
    prices = [Sample(0, 100.0), Sample(100, 90.0), Sample(300, 80.0), Sample(200, 50.0)]
    assert changes([*prices, Sample(290, 95.0)], 600, Direction.FALL)[3:] == [-50.0, -5.0]
    assert changes([*prices, Sample(400, 60.0)], 250, Direction.RISE)[-1] == 20.0


Reading = tuple[float, float, int]
"""Time, value and road."""


def episodes(readings: Sequence[Reading]) -> list[tuple[str, float, int]]:
    """Steps through readings of an index that opens above 20 (critical from 40), ends below 18."""
    state = Lasting()
    found: list[tuple[str, float, int]] = []
    for when, value, road in readings:
        reached = Severity.CRITICA if value >= 40 else Severity.ALTA if value >= 20 else None
        event = Occurrence(when, hash(value), road)
        state, outcome, episode = step(state, event, reached, value < 18)
        if outcome is not Step.NOTHING:
            assert episode is not None
            found.append((outcome.value, episode.since, episode.severity))
    return found


def test_a_value_that_swings_around_its_limit_is_one_episode() -> None:
    readings = [(float(i), 19.5 + (i % 2), EVENTOS) for i in range(20)]
    found = episodes([*readings, (20.0, 18.0, EVENTOS), (21.0, 17.9, EVENTOS), (22.0, 17, EVENTOS)])
    assert {name for name, *_ in found[:-1]} == {"told"}
    assert {since for _, since, _ in found} == {1.0}
    assert found[-1] == ("ended", 1.0, Severity.ALTA)


def test_it_gets_worse_and_stays_so_until_it_ends() -> None:
    found = episodes([(1.0, 21, EVENTOS), (2.0, 45, EVENTOS), (3.0, 21, EVENTOS)])
    assert [severity for *_, severity in found] == [3, 4, 4]


def test_after_its_end_the_next_is_a_new_one() -> None:
    found = episodes([(1.0, 21, EVENTOS), (2.0, 17, EVENTOS), (3.0, 21, EVENTOS)])
    assert found == [("told", 1.0, 3), ("ended", 1.0, 3), ("told", 3.0, 3)]


def test_the_second_road_opens_and_ends_nothing_again() -> None:
    by_table = [(1.0, 21, EVENTOS), (2.0, 17, EVENTOS), (3.0, 22, EVENTOS)]
    by_stream = [(time + 60, value, STREAM) for time, value, _ in by_table]
    assert episodes([*by_table, *by_stream]) == episodes(by_table)
    # An equal event that really comes again, after its twin, counts.
    again = episodes([*by_table[:2], *by_stream[:2], (90.0, 21, STREAM)])
    assert again[-1] == ("told", 90.0, 3)


def test_what_comes_late_is_told_and_opens_nothing() -> None:
    found = episodes([(1.0, 21, EVENTOS), (5.0, 17, EVENTOS), (3.0, 45, EVENTOS)])
    assert found[-1] == ("fleeting", 1.0, 4)
    assert episodes([(5.0, 21, EVENTOS), (3.0, 17, EVENTOS)]) == [("told", 5.0, 3)]


def test_a_late_value_does_not_end_what_newer_ones_say_lasts() -> None:
    crisis = [(1.0, 25, EVENTOS), (300.0, 38, EVENTOS)]
    assert episodes([*crisis, (150.0, 17, EVENTOS)]) == episodes(crisis)
    assert episodes([*crisis, (300.0, 17, EVENTOS)])[-1] == ("ended", 1.0, 3)


def test_a_whole_episode_that_comes_by_the_second_road_is_a_repeat() -> None:
    by_stream = [
        (1000.0 * n + at, value, STREAM)
        for n in range(20)
        for at, value in ((0.0, 25), (1.0, 26), (2.0, 27), (3.0, 15))
    ]
    by_table = [(when, value, EVENTOS) for when, value, _ in by_stream]
    first, both = episodes(by_stream), episodes([*by_stream, *by_table])
    assert len(first) == 80
    assert {name for name, *_ in both[80:]} == {"told"}  # with their beginning: repeats
    assert {since for _, since, _ in both} == {since for _, since, _ in first}
    worse = episodes([*by_stream[:4], (1.5, 45, EVENTOS)])
    assert worse[-1] == ("fleeting", 0.0, 4)


def test_what_came_late_of_one_episode_is_one_alert() -> None:
    over = [(5000.0, 25, EVENTOS), (5001.0, 17, EVENTOS)]
    late = [(1000.0 + n, 21 + n % 5, EVENTOS) for n in range(200)]
    twins = [(when + 0.004, value, STREAM) for when, value, _ in late]
    for order in (late, [x for both in zip(late, twins, strict=True) for x in both], late[::-1]):
        found = episodes([*over, *order])[2:]
        assert [name for name, *_ in found].count("fleeting") == 1
        assert len({since for _, since, _ in found}) == 1


def test_a_road_whose_times_are_a_little_earlier_tells_nothing_again() -> None:
    by_table = [
        (60.0 * n + at, value, EVENTOS) for n in range(40) for at, value in ((0.0, 25), (30.0, 17))
    ]
    by_stream = [(when - 0.004, value, STREAM) for when, value, _ in by_table]
    first, both = episodes(by_table), episodes([*by_table, *by_stream])
    assert {(name, since) for name, since, _ in both} == {(name, since) for name, since, _ in first}


@given(st.permutations([(1.0, 21.0), (2.0, 45.0), (3.0, 19.0), (4.0, 30.0)]))
def test_the_worst_is_told_whatever_the_order(readings: list[tuple[float, float]]) -> None:
    found = episodes([(time, value, EVENTOS) for time, value in readings])
    assert max(severity for *_, severity in found) == Severity.CRITICA


def test_the_worst_is_told_in_every_order_of_episodes() -> None:
    readings = [(1.0, 21), (2.0, 17), (3.0, 45), (4.0, 17)]
    for order in permutations(readings):
        told = {severity for name, _, severity in episodes([(t, v, EVENTOS) for t, v in order])}
        assert Severity.CRITICA in told
