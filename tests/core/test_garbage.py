"""Python looks for garbage seldom, and finds it all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from src.utils.garbage import look_seldom


class Knot:
    """A part of a cycle: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_a_start_made_is_looked_at_no_more() -> None:
    kept = [Knot() for _ in range(10)]
    look_seldom()
    assert gc.get_freeze_count() >= len(kept)
    assert not any(isinstance(one, Knot) for one in gc.get_objects())


def test_cycles_end_all_the_same() -> None:
    look_seldom()
    knot = Knot()
    found = weakref.ref(knot)
    del knot
    assert found() is not None
    filler: list[list[int]] = [[] for _ in range(60_000)]  # a look comes after so many new objects
    assert found() is None
    assert filler
