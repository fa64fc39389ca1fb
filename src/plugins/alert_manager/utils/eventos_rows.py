"""What the statements about `eventos` are given."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.holes import Hole, Position, Retired
from ..domain.model import RawEvent
from .arrays import numbers
from .queries import fetch_value, query

SHORT = 16  # ids; a longer hole is looked for as a range


def marked(position: Position, event_id: int | None, timestamp: float | None) -> Position:
    """Returns the position with its mark, if it ends at this row and the row's time is a number."""
    return replace(position, mark=finite(timestamp)) if event_id == position.hi else position


def ids_of(events: Sequence[RawEvent]) -> list[int]:
    """Returns the ids of rows; an event of `eventos` has one."""
    return [event.event_id for event in events if event.event_id is not None]


def finite(timestamp: float | None) -> float | None:
    """Returns a time that is a number, or None."""
    return timestamp if timestamp is not None and math.isfinite(timestamp) else None


def ranges(holes: Sequence[Hole | Retired]) -> dict[str, int | str]:
    """Returns the arguments that name holes: short ones id by id, long ones by their ends."""
    ids = [hole.lo for hole in holes if hole.lo == hole.hi]  # most holes are one id
    longer = [hole for hole in holes if hole.lo != hole.hi]
    for hole in longer:
        if hole.hi - hole.lo < SHORT:
            ids += range(hole.lo, hole.hi + 1)
    long = [hole for hole in longer if hole.hi - hole.lo >= SHORT]
    return {
        "ids": numbers(ids),
        "lo": numbers(hole.lo for hole in long),
        "hi": numbers(hole.hi for hole in long),
    }


def is_text(cursor: Cursor) -> bool:
    """Says whether `datos` is no bytea in this installation, and is read as text."""
    return bool(fetch_value(cursor, "eventos_payload_type") != "bytea")


def with_payload(name: str, as_text: bool) -> str:
    """Returns a named statement that reads `datos` by what `is_text` says."""
    return query(name).replace("{payload}", "datos::text" if as_text else "datos")


def position_before(cursor: Cursor, since: float) -> Position:
    """Returns the position before the first row whose time is `since` (epoch seconds) or later."""
    now = time.time()
    # In this order: a row that commits in between is found by the second, and not skipped.
    hi = int(fetch_value(cursor, "eventos_bounds"))
    first = fetch_value(cursor, "eventos_first_since", {"since": since, "now": now})
    if first is not None:
        hi = int(fetch_value(cursor, "eventos_last_before", {"since": since, "first": first}))
    mark = finite(fetch_value(cursor, "eventos_mark", {"hi": hi}))
    return Position(hi, seen=now, mark=mark)
