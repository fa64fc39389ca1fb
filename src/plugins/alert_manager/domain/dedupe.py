"""Whether an alert is news or a repeat, decided on event time; and whether it is the same event.

An event may come by two roads, as a row of `eventos` and as an entry of a Redis stream. An alert
counts what came by each, and occurred as often as the busiest road says.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .outcome import Candidate

TWIN_WINDOW = 600.0  # seconds by which the two roads' times of one event may differ


class Road(enum.IntEnum):
    """How an event came; the order of `KnownAlert.seen`."""

    EVENTOS = 0
    STREAM = 1
    PUSH = 2

    @classmethod
    def of(cls, source: str) -> Road:
        """Returns the road of a source's events."""
        if source.startswith("stream:"):
            return cls.STREAM
        return cls.PUSH if source == "push" else cls.EVENTOS


Seen = tuple[int, int, int]
"""How many events of an alert came by each road."""
NONE_SEEN: Seen = (0, 0, 0)


def plus_one(seen: Seen, source: str) -> Seen:
    """Counts an event of a source on its road."""
    eventos, stream, push = seen
    road = Road.of(source)
    if road is Road.EVENTOS:
        return eventos + 1, stream, push
    return (eventos, stream + 1, push) if road is Road.STREAM else (eventos, stream, push + 1)


@lru_cache(maxsize=64)
def once(source: str) -> Seen:
    """Counts one event of a source."""
    return plus_one(NONE_SEEN, source)


class KnownAlert(NamedTuple):
    """An alert of a fingerprint: its id, the event time of its first event, and what came how."""

    identity: int
    first: float
    seen: Seen = NONE_SEEN


Known = Mapping[bytes, Sequence[KnownAlert]]
"""Alerts by fingerprint."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a batch of candidates comes to, by their index in the batch.

    Attributes:
        news: candidates that become alerts.
        repeats_of_news: repeat -> the news of the same batch that it repeats.
        repeats_of_known: repeat -> id of the stored alert that it repeats.
    """

    news: tuple[int, ...]
    repeats_of_news: Mapping[int, int]
    repeats_of_known: Mapping[int, int]


def is_repeat(first: float, timestamp: float, window: float) -> bool:
    """Says whether an event repeats an alert first seen at `first` (both seconds, event time).

    The distance counts in both directions: a backlog or a second source may bring an event that is
    older than the alert that it repeats.
    """
    return abs(timestamp - first) < window


def decide(candidates: Sequence[Candidate], known: Known) -> Decision:
    """Decides in the order given; the first of a kind is news, later ones repeat it."""
    stored = {fingerprint: list(alerts) for fingerprint, alerts in known.items()}
    fresh: dict[bytes, list[KnownAlert]] = {}
    of_news: dict[int, int] = {}
    of_known: dict[int, int] = {}
    news: list[int] = []
    for index, candidate in enumerate(candidates):
        fingerprint = candidate.fingerprint
        for alerts, repeats in ((stored, of_known), (fresh, of_news)):
            if fingerprint not in alerts:  # nearly always
                continue
            found = _count(alerts[fingerprint], candidate)
            if found is not None:
                repeats[index] = found
                break
        else:
            news.append(index)
            alert = KnownAlert(index, candidate.timestamp, once(candidate.source))
            fresh.setdefault(fingerprint, []).append(alert)
    return Decision(tuple(news), of_news, of_known)


def _count(alerts: list[KnownAlert], candidate: Candidate) -> int | None:
    """Counts a candidate on the nearest alert that it repeats; returns that alert's identity."""
    matching = [i for i, alert in enumerate(alerts) if _matches(alert, candidate)]
    if not matching:
        return None
    nearest = min(matching, key=lambda i: abs(candidate.timestamp - alerts[i].first))
    alerts[nearest] = _counted(alerts[nearest], candidate)
    return alerts[nearest].identity


def _matches(alert: KnownAlert, candidate: Candidate) -> bool:
    if is_repeat(alert.first, candidate.timestamp, candidate.window):
        return True
    # Past its window an alert still waits for the twins of its events on the other road.
    awaits = alert.seen[Road.of(candidate.source)] < max(alert.seen)
    return awaits and is_repeat(alert.first, candidate.timestamp, TWIN_WINDOW)


def _counted(alert: KnownAlert, candidate: Candidate) -> KnownAlert:
    return alert._replace(seen=plus_one(alert.seen, candidate.source))
