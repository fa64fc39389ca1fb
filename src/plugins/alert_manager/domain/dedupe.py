"""Whether an alert is news or a repeat, decided on event time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .model import Candidate

Known = Mapping[bytes, Sequence[tuple[int, float]]]
"""Alerts by fingerprint: (alert id, event time of the first alert)."""


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
    news: list[int] = []
    of_news: dict[int, int] = {}
    of_known: dict[int, int] = {}
    seen: dict[bytes, list[tuple[int, float]]] = {}
    for index, candidate in enumerate(candidates):
        stored = _find(known.get(candidate.fingerprint, ()), candidate)
        if stored is not None:
            of_known[index] = stored
            continue
        fresh = _find(seen.get(candidate.fingerprint, ()), candidate)
        if fresh is not None:
            of_news[index] = fresh
            continue
        news.append(index)
        seen.setdefault(candidate.fingerprint, []).append((index, candidate.timestamp))
    return Decision(tuple(news), of_news, of_known)


def _find(alerts: Sequence[tuple[int, float]], candidate: Candidate) -> int | None:
    for identity, first in alerts:
        if is_repeat(first, candidate.timestamp, candidate.window):
            return identity
    return None
