"""The hole list: interleavings of writers, written down step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.holes import (
    Hole,
    Position,
    Retired,
    after_locks,
    after_read,
    forget_retired,
    settled,
)

T7 = frozenset({"3/7"})
NOBODY: frozenset[str] = frozenset()


def poll(position: Position, ids: list[int], writers: frozenset[str]) -> Position:
    moved = after_read(position, ids, now=100.0)
    return after_locks(moved, writers) if moved.holes else moved


def test_a_row_that_becomes_visible_late_is_awaited_while_its_writer_runs() -> None:
    position = poll(Position(6), [8], T7)
    assert position == Position(8, (Hole(7, 7, T7),), seen=100.0)
    position = poll(position, [], T7)
    position = poll(position, [7], NOBODY)
    assert position == Position(8, seen=100.0)


def test_a_writer_that_ends_between_rows_and_locks_gets_one_poll_more() -> None:
    position = poll(Position(6), [8], NOBODY)
    assert position.holes == (Hole(7, 7, NOBODY),)
    assert poll(position, [7], NOBODY) == Position(8, seen=100.0)


def test_a_rollback_retires_the_hole_and_a_late_row_is_still_found() -> None:
    position = poll(Position(6), [8], T7)
    position = poll(position, [], NOBODY)
    assert position.holes == (Hole(7, 7, NOBODY),)
    position = poll(position, [], NOBODY)
    assert position == Position(8, (), (Retired(7, 7, 100.0),), 100.0)
    assert poll(position, [7], NOBODY) == Position(8, seen=100.0)


def test_other_writers_that_came_later_do_not_hold_a_hole_open() -> None:
    position = poll(Position(6), [8], T7)
    position = poll(position, [], frozenset({"9/1"}))
    assert position.holes == (Hole(7, 7, NOBODY),)


def test_a_prepared_transaction_keeps_holes_open() -> None:
    position = poll(Position(6), [8], T7)
    position = poll(position, [], frozenset({"-1/755"}))
    position = poll(position, [], frozenset({"-1/755"}))
    assert position.holes == (Hole(7, 7, frozenset({"-1/755"})),)
    assert poll(position, [7], NOBODY) == Position(8, seen=100.0)


def test_a_cut_off_read_retires_nothing() -> None:
    position = Position(8, (Hole(7, 7, NOBODY),))
    assert after_read(position, [], 100.0, complete=False).holes == position.holes


def test_after_a_restart_owners_are_asked_anew() -> None:
    position = after_read(Position(8, (Hole(7, 7),)), [], 100.0)
    assert after_locks(position, T7).holes == (Hole(7, 7, T7),)


def test_ranges_split_around_what_was_found() -> None:
    position = after_read(Position(0), [1, 1_000_000], 0.0)
    assert position.holes == (Hole(2, 999_999),)
    position = after_read(position, [2, 500, 999_999], 0.0)
    assert position.holes == (Hole(3, 499), Hole(501, 999_998))


def test_what_an_open_transaction_wrote_is_awaited_for_a_minute() -> None:
    assert settled(Position(8), 100.0) == 100.0
    position = after_read(Position(6, seen=95.0), [8], 100.0)
    assert settled(position, 100.0) == 95.0
    position = after_locks(after_read(position, [10], 130.0), T7)
    again = after_read(Position.from_json(position.to_json()), [], 150.0)
    assert settled(again, 150.0) == 95.0
    assert settled(again, 170.0) == 100.0  # the first one keeps nobody waiting any more
    assert settled(again, 190.0) == 190.0
    old = {"hi": 8, "holes": [[7, 7]], "retired": []}  # as stored before holes had a time
    assert settled(Position.from_json(old), 100.0) == 100.0


def test_retired_holes_are_forgotten_by_age_and_number() -> None:
    retired = tuple(Retired(i, i, float(i)) for i in range(10))
    kept = forget_retired(Position(20, (), retired), before=3.0, keep=4).retired
    assert [r.lo for r in kept] == [6, 7, 8, 9]


@given(st.lists(st.integers(1, 60), unique=True, max_size=40), st.integers(1, 9))
def test_each_id_is_read_or_awaited_whatever_the_order(order: list[int], size: int) -> None:
    """Rows become visible in any order, some never: none is passed over."""
    position, seen = Position(0), set[int]()
    visible: set[int] = set()
    for start in range(0, len(order), size):
        visible.update(order[start : start + size])
        missing = {i for h in position.holes for i in range(h.lo, h.hi + 1)}
        ids = sorted(i for i in visible - seen if i > position.hi or i in missing)
        assert not seen & set(ids)
        seen.update(ids)
        position = poll(position, ids, T7)
        assert seen == visible
