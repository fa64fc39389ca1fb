"""The position in `eventos`, with the ids that are missing below it.

`id` order is not commit order: a transaction that drew id 7 may commit after id 8 is visible. Ids
that are absent below the highest one read are holes; a hole is retired only when every transaction
that could still fill it has ended (docs/architecture.md). Ranges, not single ids: a sequence that
jumps by millions costs one entry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

Owners = frozenset[str]
"""Virtual transactions (`pg_locks.virtualtransaction`) that hold a writer's lock on `eventos`."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing ids from `lo` to `hi`, both included.

    Attributes:
        owners: the transactions that may still fill it; None: not asked yet.
        since: time of the last look before it was found (epoch seconds); 0 where nobody knows.
        found: time of the look that found it.
    """

    lo: int
    hi: int
    owners: Owners | None = None
    since: float = field(default=0.0, compare=False)
    found: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Retired:
    """A hole that no running transaction can fill, retired at `since` (seconds since the epoch).

    It is still probed for a day: an id drawn in an earlier transaction may be inserted much later.
    """

    lo: int
    hi: int
    since: float


OPEN_FOR = 60.0  # seconds that an ordinary transaction of a writer stays open, at the most
_Range = TypeVar("_Range", Hole, Retired)


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to `hi` was read, apart from the holes.

    Attributes:
        seen: seconds since the epoch of the last look at the table; 0 where nobody knows.
        mark: the writer's time of the row `hi`, by which that very row is recognised; None where
            no row was read yet, or its time is no number.
    """

    hi: int
    holes: tuple[Hole, ...] = ()
    retired: tuple[Retired, ...] = ()
    seen: float = 0.0
    mark: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON, without owners: after a restart nobody knows which have ended."""
        return {
            "hi": self.hi,
            "holes": [[hole.lo, hole.hi, hole.since, hole.found] for hole in self.holes],
            "retired": [[hole.lo, hole.hi, hole.since] for hole in self.retired],
            "seen": self.seen,
            "mark": self.mark,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Position:
        """Returns the position that `to_json` made JSON of."""
        return cls(
            stored["hi"],
            tuple(Hole(lo, hi, None, *times) for lo, hi, *times in stored["holes"]),
            tuple(Retired(lo, hi, since) for lo, hi, since in stored["retired"]),
            stored.get("seen", 0.0),
            stored.get("mark"),
        )


def after_read(
    position: Position, ids: Sequence[int], now: float, complete: bool = True
) -> Position:
    """Returns the position after the statement that reads rows (S1).

    A hole whose owners were already gone before the statement, and that it still did not find, is
    retired: the transaction was rolled back.

    Args:
        position: the position before.
        ids: every id that the statement returned, ascending: of holes, retired holes and new rows.
        now: seconds since the epoch.
        complete: False when the statement's limit cut off rows of holes: absence proves nothing.
    """
    old = [i for i in ids if i <= position.hi]
    new = [i for i in ids if i > position.hi]
    holes: list[Hole] = []
    retired = _without(position.retired, old)
    for hole in _without(position.holes, old):
        if complete and hole.owners is not None and not hole.owners:
            retired.append(Retired(hole.lo, hole.hi, now))
        else:
            holes.append(hole)
    holes += [Hole(lo, hi, None, position.seen, now) for lo, hi in _gaps(position.hi, new)]
    hi, mark = (new[-1], None) if new else (position.hi, position.mark)
    return Position(hi, tuple(holes), tuple(retired), now, mark)


def after_locks(position: Position, writers: Owners) -> Position:
    """Returns the position after the statement that reads locks (S2), run strictly after S1.

    Prepared transactions (`-1/…`) stay owners of every hole: a transaction changes its virtual id
    when it is prepared, so that it could not be recognised.
    """
    prepared = frozenset(w for w in writers if w.startswith("-1/"))

    left: dict[Owners | None, Owners] = {None: writers}  # holes of one poll share their owners
    holes: list[Hole] = []
    for hole in position.holes:
        if hole.owners not in left:
            left[hole.owners] = ((hole.owners or frozenset()) & writers) | prepared
        owners = left[hole.owners]
        holes.append(hole if owners == hole.owners else replace(hole, owners=owners))
    return replace(position, holes=tuple(holes))


def forget_retired(position: Position, before: float, keep: int) -> Position:
    """Drops retired holes from before that time (epoch seconds), and all but the newest."""
    fresh = [r for r in position.retired if r.since >= before]
    return replace(position, retired=tuple(fresh[-keep:] if keep else ()))


def settled(position: Position, now: float) -> float:
    """Returns until when everything was read that was written by then (both epoch seconds).

    A transaction that stays open for longer than a minute keeps nobody waiting.
    """
    return min((h.since for h in position.holes if now - h.found < OPEN_FOR), default=now)


def _gaps(hi: int, ids: Iterable[int]) -> list[tuple[int, int]]:
    gaps: list[tuple[int, int]] = []
    for i in ids:
        if i > hi + 1:
            gaps.append((hi + 1, i - 1))
        hi = i
    return gaps


def _without(ranges: Iterable[_Range], found: Sequence[int]) -> list[_Range]:
    """Takes found ids out of ranges, which splits a range that held one in its middle."""
    if not found:
        return list(ranges)
    result: list[_Range] = []
    for entry in ranges:
        lo = entry.lo
        for i in found[bisect_left(found, entry.lo) : bisect_right(found, entry.hi)]:
            if i > lo:
                result.append(replace(entry, lo=lo, hi=i - 1))
            lo = i + 1
        if lo <= entry.hi:
            result.append(replace(entry, lo=lo))
    return result
