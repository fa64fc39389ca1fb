"""What became of each event of a batch, by its channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from src.plugins.alert_manager.domain.model import RawEvent, Severity
from src.plugins.alert_manager.domain.outcome import (
    Candidate,
    Change,
    Committed,
    DeadLetter,
    Judged,
    Said,
)
from src.plugins.alert_manager.domain.tally import OUTCOMES, tally
from src.plugins.alert_manager.letters import dead_letter

WATCHED = ("alertas", "macro_data", "x" * 60)


def raw(number: int, channel: str = "alertas", source: str = "eventos") -> RawEvent:
    return RawEvent(source, number, channel, "{}", 1.0, "c", 2)


def found(event: RawEvent, rule: str = "r") -> Candidate:
    return Candidate(
        source=event.source,
        event_id=event.event_id,
        channel=event.channel[:50],
        rule=rule,
        severity=Severity.ALTA,
        words=Said("t", "m"),
        event_data={},
        timestamp=1.0,
        instance_id=None,
        fingerprint=b"f",
        window=1.0,
        targets=(),
    )


def letter(event: RawEvent) -> DeadLetter:
    return dead_letter(event, "por algo", 1.0)


def test_each_event_counts_once_by_the_best_that_came_of_it() -> None:
    events = [raw(n) for n in range(1, 7)]
    candidates = (
        found(events[0], "a"),  # new, and a repeat of something else
        found(events[0], "b"),
        found(events[1], "b"),  # the other way round
        found(events[1], "a"),
        found(events[2]),
        replace(found(events[3]), event_id=None),  # one that did not come
    )
    judged = Judged(6, candidates, (letter(events[4]),))
    committed = Committed(alerts={0: 11, 3: 12, 5: 13})
    assert tally(events, judged, committed, WATCHED) == {
        ("alertas", "alert"): 2,
        ("alertas", "repeat"): 1,
        ("alertas", "dead_letter"): 1,
        ("alertas", "nothing"): 2,
    }


def test_names_that_the_configuration_does_not_have_are_one() -> None:
    events = [raw(1, "a' or 1=1"), raw(2, "otro"), raw(3, "macro_data"), raw(4, "x" * 60)]
    judged = Judged(4, (found(events[3]),))
    assert tally(events, judged, Committed(alerts={0: 1}), WATCHED) == {
        ("other", "ignored"): 2,
        ("macro_data", "nothing"): 1,
        ("x" * 60, "alert"): 1,
    }


def test_a_command_is_the_last_of_its_batch() -> None:
    events = [raw(1), raw(2, "alert_data")]
    change = Change("vix", 20, 22, 20, 1.0, "w")
    counted = tally(events, Judged(2, changes=(change,)), Committed(), (*WATCHED, "alert_data"))
    assert counted == {("alertas", "nothing"): 1, ("alert_data", "command"): 1}


def test_the_same_id_by_two_roads_is_two_events() -> None:
    events = [raw(1), raw(1, source="stream:alertas")]
    judged = Judged(2, (found(events[0]), found(events[1])))
    counted = tally(events, judged, Committed(alerts={0: 1}), WATCHED)
    assert counted == {("alertas", "alert"): 1, ("alertas", "repeat"): 1}


@pytest.mark.parametrize("events", [0, 1])
def test_our_own_alerts_are_no_events(events: int) -> None:
    own = replace(found(raw(1)), source="alert_manager", event_id=None)
    judged = Judged(events, (own,))
    counted = tally([raw(9)] * events, judged, Committed(alerts={0: 1}), WATCHED)
    assert counted == ({("alertas", "nothing"): 1} if events else {})


@given(
    st.lists(st.tuples(st.sampled_from([*WATCHED, "otro"]), st.integers(0, 4)), max_size=40),
    st.sets(st.integers(0, 80)),
)
def test_no_event_is_counted_twice_or_left_out(batch: list[tuple[str, int]], new: set[int]) -> None:
    events = [raw(number, channel) for number, (channel, _) in enumerate(batch)]
    candidates = tuple(
        found(event, f"r{n}")
        for event, (channel, count) in zip(events, batch, strict=True)
        for n in range(count % 3)
        if channel != "otro"
    )
    dead = tuple(
        letter(event)
        for event, (channel, count) in zip(events, batch, strict=True)
        if count == 3 and channel != "otro"
    )
    alerts = {index: 1 for index in range(len(candidates)) if index in new}
    counted = tally(events, Judged(len(events), candidates, dead), Committed(alerts), WATCHED)
    assert counted.total() == len(events)
    assert {outcome for _, outcome in counted} <= set(OUTCOMES)
    assert all(number > 0 for number in counted.values())
