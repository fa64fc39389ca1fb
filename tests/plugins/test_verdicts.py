"""What was told beside what would have been: each alert stands for one, whatever road it took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.verdicts import Told, Verdict, compare

ALTA, MEDIA = Severity.ALTA, Severity.MEDIA


def told(number: int = 1, severity: Severity = ALTA, time: float = 0.0, title: str = "t") -> Told:
    return Told(bytes([number, severity]), "perdida", severity, time, number, title)


def test_another_severity_is_one_event_that_changes() -> None:
    found = compare([told(1, ALTA), told(2)], [told(1, MEDIA), told(2)])
    assert found.changed == (Verdict("perdida", 0.0, 1, "t", ALTA, MEDIA),)
    assert found.counts == {("perdida", ALTA): (2, 1), ("perdida", MEDIA): (0, 1)}


def test_a_state_that_was_seen_to_begin_later_is_no_other_verdict() -> None:
    one, other = told(1), told(1)._replace(fingerprint=b"since another time")
    assert compare([one], [other]).changed == ()
    assert len(compare([one], [other._replace(severity=MEDIA)]).changed) == 1


def test_what_is_gone_and_what_is_new_are_told_apart() -> None:
    found = compare([told(1)], [told(2, time=5.0)])
    assert [(v.event_id, v.before, v.after) for v in found.changed] == [
        (1, ALTA, None),
        (2, None, ALTA),
    ]


def test_a_state_that_two_roads_time_differently_is_the_same() -> None:
    by_stream = told(title="VIX en 22")._replace(event_id=None, timestamp=100.004)
    by_table = by_stream._replace(fingerprint=b"other", timestamp=100.0, event_id=7)
    assert compare([by_stream], [by_table]).changed == ()
    later = by_table._replace(timestamp=5000.0)
    assert len(compare([by_stream], [later]).changed) == 2


SOME = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([ALTA, MEDIA])))
TIMES = st.lists(st.floats(0, 10_000), min_size=6, max_size=6)  # an event has one


@given(SOME, SOME, TIMES)
def test_counts_and_changes_agree(
    first: list[tuple[int, Severity]], second: list[tuple[int, Severity]], times: list[float]
) -> None:
    before, after = (
        [told(number, severity, times[number]) for number, severity in some]
        for some in (first, second)
    )
    assert compare(before, before).changed == ()
    found = compare(before, after)
    assert sum(count for count, _ in found.counts.values()) == len(before)
    assert sum(count for _, count in found.counts.values()) == len(after)
    if not found.changed:
        assert len(before) == len(after)
