"""What was told beside what would have been: counts, and the events whose verdict is another."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .dedupe import TWIN_WINDOW
from .model import Severity


class Told(NamedTuple):
    """An alert that was told, or would have been.

    Attributes:
        timestamp: event time of its first event (epoch seconds).
        event_id: of that event in `eventos`; None where none brought it, or another source.
    """

    fingerprint: bytes
    rule: str
    severity: Severity
    timestamp: float
    event_id: int | None
    title: str


class Verdict(NamedTuple):
    """What an event came to for a rule, and what it would come to; None: to no alert."""

    rule: str
    timestamp: float
    event_id: int | None
    title: str
    before: Severity | None
    after: Severity | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same events.

    Attributes:
        counts: alerts before and after, by rule and severity.
        changed: verdicts that differ, in order of time.
    """

    counts: Mapping[tuple[str, Severity], tuple[int, int]]
    changed: tuple[Verdict, ...]


def compare(before: Sequence[Told], after: Sequence[Told]) -> Comparison:
    """Compares the alerts of two runs; the same alert may have come by two roads."""
    gone, new = _unmatched(before, after, _identity), _unmatched(after, before, _identity)
    # What lasts is identified by its beginning, which the two roads time a little differently.
    by_stream = [told for told in gone if told.event_id is None]
    gone = [told for told in gone if told.event_id is not None]
    gone += _unmatched(by_stream, new, _looks)
    new = _unmatched(new, by_stream, _looks)
    counts_before, counts_after = _counts(before), _counts(after)
    keys = sorted(counts_before.keys() | counts_after.keys(), key=lambda key: (key[0], -key[1]))
    changed: dict[tuple[str, int | bytes], Verdict] = {}
    for told in gone:
        changed[_event_of(told)] = Verdict(
            told.rule, told.timestamp, told.event_id, told.title, told.severity, None
        )
    for told in new:
        old = changed.get(_event_of(told))
        changed[_event_of(told)] = Verdict(
            told.rule,
            told.timestamp,
            told.event_id,
            told.title,
            None if old is None else old.before,
            told.severity,
        )
    # A state that began before the first of all events is dated otherwise, and as urgent.
    verdicts = [verdict for verdict in changed.values() if verdict.before is not verdict.after]
    return Comparison(
        {key: (counts_before[key], counts_after[key]) for key in keys},
        tuple(sorted(verdicts, key=lambda verdict: (verdict.timestamp, verdict.rule))),
    )


def _counts(alerts: Iterable[Told]) -> Counter[tuple[str, Severity]]:
    return Counter((told.rule, told.severity) for told in alerts)


def _event_of(told: Told) -> tuple[str, int | bytes]:
    return told.rule, told.fingerprint if told.event_id is None else told.event_id


def _unmatched(
    alerts: Iterable[Told], others: Iterable[Told], key: Callable[[Told], Hashable]
) -> list[Told]:
    """Returns the alerts that the others do not have; each of the others stands for one."""
    waiting: dict[Hashable, deque[float]] = {}
    for told in sorted(others, key=_time):
        waiting.setdefault(key(told), deque()).append(told.timestamp)
    left = []
    for told in sorted(alerts, key=_time):
        moments = waiting.get(key(told), deque())
        while moments and moments[0] <= told.timestamp - TWIN_WINDOW:
            moments.popleft()
        if moments and moments[0] < told.timestamp + TWIN_WINDOW:
            moments.popleft()
        else:
            left.append(told)
    return left


def _identity(told: Told) -> bytes:
    return told.fingerprint


def _looks(told: Told) -> tuple[str, Severity, str]:
    return told.rule, told.severity, told.title


def _time(told: Told) -> float:
    return told.timestamp
