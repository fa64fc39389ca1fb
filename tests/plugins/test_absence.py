"""Events that have to come: deadlines on the family's clock, and what is told when none came."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.absence_settings import awaited
from src.plugins.alert_manager.domain.absence import Awaited, Heard, heard
from src.plugins.alert_manager.interval_settings import ActiveSettings

MEXICO = "America/Mexico_City"
NEW_YORK = "America/New_York"


def moment(text: str, zone: str = MEXICO) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def every(seconds: float, zone: str = MEXICO, **active: Any) -> Awaited:
    found = awaited(seconds, None, None, ActiveSettings(**active), zone)
    assert found is not None
    return found


def by(clock: str, within: float, zone: str = MEXICO, **active: Any) -> Awaited:
    found = awaited(None, clock, within, ActiveSettings(**active), zone)
    assert found is not None
    return found


MARKET = {"weekdays": "lun-vie", "hours": "08:30-15:00"}
NIGHT = {"weekdays": ["vie", "sáb"], "hours": ["22:00-06:00"]}
TWICE = {"hours": ["08:00-10:00", "16:00-18:00"]}
DAILY = {"hours": ["00:00-12:00", "12:00-24:00"]}


@pytest.mark.parametrize(
    ("active", "minutes", "last", "expected"),
    [
        ({}, 5, "2026-11-23T23:58", "2026-11-24T00:03"),
        (DAILY, 5, "2026-11-23T23:58", "2026-11-24T00:03"),
        (DAILY, 30 * 24 * 60, "2026-11-01T12:00", "2026-12-01T12:00"),
        (MARKET, 5, "2026-11-23T09:00", "2026-11-23T09:05"),
        (MARKET, 5, "2026-11-23T14:55", "2026-11-23T15:00"),
        (MARKET, 5, "2026-11-23T14:58", "2026-11-24T08:33"),  # two minutes were over
        (MARKET, 5, "2026-11-20T15:00", "2026-11-23T08:35"),  # Friday, then Monday
        (MARKET, 5, "2026-11-21T12:00", "2026-11-23T08:35"),
        (MARKET, 5, "2026-11-23T08:00", "2026-11-23T08:35"),
        (MARKET, 13 * 60, "2026-11-23T08:00", "2026-11-24T15:00"),
        (NIGHT, 60, "2026-11-20T21:00", "2026-11-20T23:00"),  # a Friday
        (NIGHT, 60, "2026-11-21T05:30", "2026-11-21T22:30"),
        (NIGHT, 60, "2026-11-22T05:30", "2026-11-27T22:30"),
        (TWICE, 90, "2026-11-23T09:00", "2026-11-23T16:30"),
    ],
)
def test_silence_counts_in_active_hours_alone(
    active: dict[str, Any], minutes: int, last: str, expected: str
) -> None:
    found = every(minutes * 60, **active).deadline(moment(last))
    assert found == moment(expected), datetime.fromtimestamp(found, ZoneInfo(MEXICO))


def test_the_day_on_which_clocks_change_has_its_own_length() -> None:
    # On 2026-03-08 New York goes from 02:00 to 03:00, on 2026-11-01 from 02:00 back to 01:00.
    night = every(3600, NEW_YORK, hours="00:00-06:00")
    assert night.deadline(moment("2026-03-08T01:30", NEW_YORK)) == moment(
        "2026-03-08T03:30", NEW_YORK
    )
    long = every(7 * 3600, NEW_YORK, hours="00:00-06:00")
    begin = moment("2026-11-01T00:00", NEW_YORK)
    assert long.deadline(begin) == begin + 7 * 3600 == moment("2026-11-01T06:00", NEW_YORK)
    assert long.deadline(moment("2026-03-08T00:00", NEW_YORK)) == moment(
        "2026-03-09T02:00", NEW_YORK
    )


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("2026-11-23T23:59", "2026-11-25T00:30"),  # tonight's came
        ("2026-11-24T00:30", "2026-11-25T00:30"),
        ("2026-11-23T22:30", "2026-11-24T00:30"),  # two hours before: too early to be tonight's
        ("2026-11-23T22:31", "2026-11-25T00:30"),
        ("2026-11-24T00:45", "2026-11-25T00:30"),  # last night's, late
        ("2026-11-20T23:59", "2026-11-22T00:30"),
    ],
)
def test_a_settlement_is_awaited_each_night(last: str, expected: str) -> None:
    assert by("00:30", 7200).deadline(moment(last)) == moment(expected)


def test_a_settlement_may_be_awaited_on_some_nights_alone() -> None:
    working = by("00:30", 7200, weekdays="mar-sab")  # the nights after Monday to Friday
    assert working.deadline(moment("2026-11-20T23:59")) == moment("2026-11-24T00:30")


EVERY = st.integers(1, 10).map(lambda m: every(60.0 * m))
MARKETS = st.integers(1, 500).map(lambda m: every(60.0 * m, **MARKET))
NIGHTLY = st.integers(1, 24).map(lambda h: by("00:30", 3600.0 * h))
MOMENTS = st.integers(1_760_000_000, 1_770_000_000).map(float)


@given(st.one_of(EVERY, MARKETS, NIGHTLY), MOMENTS, st.integers(1, 10**6))
def test_a_later_event_is_never_awaited_less_long(
    expected: Awaited, last: float, later: int
) -> None:
    assert last < expected.deadline(last) <= expected.deadline(last + later)


def outcomes(
    expected: Awaited, times: list[float], looks: list[float]
) -> tuple[Heard | None, list[tuple[float, float | None]]]:
    """Returns what is left, and each absence with its end: told by a look or by the next event."""
    state: Heard | None = None
    told: list[tuple[float, float | None]] = []
    for time, is_look in sorted([*((t, 0) for t in times), *((t, 1) for t in looks)]):
        if not is_look:
            if state is None:
                state = Heard(time)
                continue
            state, missed, ended = heard(state, time, expected)
            if missed is not None:
                told.append((missed, None))
            if ended is not None:
                assert told[-1] == (ended, None)
                told[-1] = (ended, time)
        elif state is not None and state.absent is None:
            deadline = state.deadline(expected)
            if deadline <= time:
                state = Heard(state.last, absent=deadline)
                told.append((deadline, None))
    return state, told


@given(
    st.one_of(EVERY, NIGHTLY),
    st.lists(st.integers(0, 10_000), min_size=2, max_size=30),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_a_backlog_tells_what_looking_at_the_time_tells(
    expected: Awaited, times: list[int], looks: list[int]
) -> None:
    came = [1_763_872_000.0 + t * 37 for t in times]
    looked = [1_763_872_000.0 + t * 37 for t in looks]
    end = max(came)
    looked = [t for t in looked if t < end]
    assert outcomes(expected, came, looked) == outcomes(expected, came, [])
    _, told = outcomes(expected, came, [])
    gaps = [(a, b) for a, b in pairwise(sorted(set(came))) if expected.deadline(a) < b]
    assert told == [(expected.deadline(a), b) for a, b in gaps]


def test_an_event_that_comes_late_ends_no_absence_and_opens_none() -> None:
    expected = every(300.0)
    state = Heard(1000.0)
    absent = Heard(1000.0, absent=1300.0)
    assert heard(absent, 1200.0, expected) == (Heard(1200.0, absent=1300.0), None, None)
    assert heard(absent, 1300.0, expected) == (Heard(1300.0), None, 1300.0)
    assert heard(state, 400.0, expected) == (state, None, None)
    assert heard(state, 1000.0, expected) == (state, None, None)  # its twin by the other road


def test_a_settlement_that_is_seen_late_and_was_in_time_ends_its_absence() -> None:
    nightly = by("00:30", 7200.0)
    due = moment("2026-11-24T00:30")
    absent = Heard(moment("2026-11-23T00:10"), absent=due)
    for clock in ("2026-11-24T00:29:58", "2026-11-23T22:30:01"):
        came = moment(clock)
        assert heard(absent, came, nightly) == (Heard(came), None, due)
    early = moment("2026-11-23T22:30:00")  # before its window: it is another night's
    assert heard(absent, early, nightly) == (Heard(early, absent=due), None, None)


def test_a_late_settlement_is_not_that_of_the_next_night_too() -> None:
    daily = awaited(None, "00:30", None, None, MEXICO)
    assert daily is not None
    state = Heard(moment("2026-11-22T23:50"))
    assert state.deadline(daily) == moment("2026-11-24T00:30")
    state, missed, ended = heard(state, moment("2026-11-24T01:00"), daily)
    assert missed == ended == moment("2026-11-24T00:30")
    assert state.deadline(daily) == moment("2026-11-25T00:30")  # it was the 26th
    on_time, missed, _ = heard(state, moment("2026-11-24T23:50"), daily)
    assert (missed, on_time.counted) == (None, None)
    assert on_time.deadline(daily) == moment("2026-11-26T00:30")
    # Days later: it is that of the night before.
    state, missed, _ = heard(on_time, moment("2026-11-29T10:00"), daily)
    assert missed == moment("2026-11-26T00:30")
    assert state.deadline(daily) == moment("2026-11-30T00:30")


@pytest.mark.parametrize(("seconds", "nights"), [(0.004, 1), (599.0, 1), (601.0, 2)])
def test_a_late_settlement_that_comes_by_two_roads_is_still_late(
    seconds: float, nights: int
) -> None:
    daily = awaited(None, "00:30", None, None, MEXICO)
    assert daily is not None
    late = moment("2026-11-24T05:00")
    state, missed, _ = heard(Heard(moment("2026-11-22T23:50")), late, daily)
    assert missed is not None
    state, *_ = heard(state, late + seconds, daily)
    assert state.deadline(daily) == moment(f"2026-11-{24 + nights}T00:30")


@pytest.mark.parametrize(
    ("hours", "last", "expected"),
    [
        ("02:30-03:15", "2026-03-08T01:00", "2026-03-09T03:00"),  # nothing is left of it
        ("02:30-03:00", "2026-03-08T01:00", "2026-03-09T03:00"),
        ("01:00-02:30", "2026-03-08T01:10", "2026-03-08T01:40"),
    ],
)
def test_an_interval_in_the_hour_that_a_clock_change_takes(
    hours: str, last: str, expected: str
) -> None:
    found = every(1800.0, NEW_YORK, hours=hours).deadline(moment(last, NEW_YORK))
    assert found == moment(expected, NEW_YORK)


def test_an_hour_that_comes_twice_is_watched_twice() -> None:
    watch = every(1800.0, NEW_YORK, hours="22:00-01:30")
    first_pass = moment("2026-11-01T01:15", NEW_YORK)
    assert watch.deadline(first_pass) == first_pass + 1800.0
    second_pass = first_pass + 3600.0  # a quarter of an hour is left then
    assert watch.deadline(second_pass) == moment("2026-11-01T22:15", NEW_YORK)


def test_a_day_without_an_hour_is_no_day_without_a_deadline() -> None:
    daily = awaited(None, "08:30", None, None, NEW_YORK)
    assert daily is not None
    found = daily.deadline(moment("2026-03-07T08:00", NEW_YORK))
    assert found == moment("2026-03-08T08:30", NEW_YORK)
