"""Values that come late are compared with all that was before them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.change import Direction, Sample, difference
from tests.plugins.test_tracking import changes


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60), st.integers(1, 99)), max_size=120),
    st.sampled_from(Direction),
)
@example(
    [
        *((0, 0, v) for v in (1, 1, 43)),
        *((20, 1, 1), (20, 0, 2), (20, 4, 2), (20, 0, 2), (19, 0, 2), (16, 0, 2)),
        *((20, 0, 2) for _ in range(4)),
        *((20, 0, 1), (5, 0, 1), (0, 6, 11)),
    ],
    Direction.RISE,
)
def test_a_value_that_is_a_little_late_is_compared_with_all_that_was_before_it(
    steps: list[tuple[int, int, int]], direction: Direction
) -> None:
    now, came = 0.0, []
    for seconds, late, value in steps:
        now += seconds
        came.append(Sample(max(0.0, now - late), float(value)))
    newest = [max(s.time for s in came[: i + 1]) for i in range(len(came))]
    came = [s for s, latest in zip(came, newest, strict=True) if s.time >= latest - 60]
    found = changes(came, 200, direction, percent=False)
    for i, sample in enumerate(came):
        base = [s for s in came[:i] if sample.time - 200 <= s.time <= sample.time]
        change = difference(base, sample.value, direction, percent=False)
        assert found[i] == (None if change is None else change[0])
