"""Urgent alerts that were stored a moment ago, and that nobody was told of yet."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from .domain.model import URGENT
from .domain.outcome import Candidate, Committed

MAX_AGE = 60.0  # seconds; what waits for longer does so for a reason, or somebody else told it
_MOST = 2000  # alerts


@dataclass(slots=True)
class _Entry:
    candidate: Candidate
    stored_at: float
    left: set[str]
    in_hand: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Early:
    """What channels did with an alert before we heard that its commit had succeeded."""

    begun_at: float
    in_hand: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


class Untold:
    """Should alert_db go away right after a commit, it is known here what it still had to tell."""

    def __init__(self, machines: Collection[str] = ()) -> None:
        """`machines`: channels that wake nobody, which may have much to tell for a while."""
        self._machines = frozenset(machines)
        self._entries: dict[int, _Entry] = {}
        # A worker may claim a message as soon as it is committed, and send it before the commit's
        # answer is here. Most of these are of alerts that are never heard of again.
        self._early: dict[int, _Early] = {}

    def stored(self, candidates: Sequence[Candidate], committed: Committed) -> None:
        """Hears which candidates, by their index, became which alerts."""
        now = time.monotonic()
        for index, alert_id in committed.alerts.items():
            candidate = candidates[index]
            early = self._early.pop(alert_id, None)
            if early is None or early.begun_at < now - MAX_AGE:  # an emptied table counts anew
                early = _Early(now)
            left = {name for name in candidate.targets if (alert_id, name) not in committed.told}
            left -= early.told
            if candidate.severity >= URGENT and left:
                self._entries[alert_id] = _Entry(candidate, now, left, early.in_hand)
        if len(self._entries) > _MOST:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forgets what is too much, and what only machines have to tell before the rest."""
        dull = (i for i, entry in self._entries.items() if entry.left <= self._machines)
        for alert_id in [*islice(dull, len(self._entries) - _MOST)]:
            del self._entries[alert_id]
        for alert_id in [*islice(self._entries, max(0, len(self._entries) - _MOST))]:
            del self._entries[alert_id]

    def sending(self, channel: str, alerts: Iterable[int]) -> None:
        """Hears that a channel is being told of these."""
        now = time.monotonic()
        for alert_id in alerts:
            entry = self._entries.get(alert_id) or self._early.setdefault(alert_id, _Early(now))
            entry.in_hand.add(channel)
        while len(self._early) > _MOST:
            del self._early[next(iter(self._early))]

    def sent(self, channel: str, alerts: Iterable[int], to_be_retried: bool) -> None:
        """Hears what became of it; where some recipients have it, alert_db knows who is left."""
        for alert_id in alerts:
            entry = self._entries.get(alert_id)
            if entry is None:
                if early := self._early.get(alert_id):
                    early.in_hand.discard(channel)
                    if not to_be_retried:
                        early.told.add(channel)
                continue
            entry.in_hand.discard(channel)
            if not to_be_retried:
                entry.left.discard(channel)
            if not entry.left:
                del self._entries[alert_id]

    def marked(self, messages: Iterable[tuple[int, str]]) -> None:
        """Hears of alerts and channels of which alert_db knows that people have been told.

        Where some recipients have it, alert_db knows who is left.
        """
        for alert_id, channel in messages:
            self.sending(channel, (alert_id,))  # the commit's answer may still be on its way
            self.sent(channel, (alert_id,), to_be_retried=False)

    def take(self) -> list[Candidate]:
        """Returns what is left, for the channels that were not told, and forgets it.

        What is being sent right now stays: it may have to be told yet.
        """
        oldest = time.monotonic() - MAX_AGE
        found: list[Candidate] = []
        entries, self._entries = self._entries, {}
        for alert_id, entry in entries.items():
            if entry.stored_at < oldest:
                continue
            if waiting := entry.left - entry.in_hand:
                found.append(
                    msgspec.structs.replace(entry.candidate, targets=tuple(sorted(waiting)))
                )
            if entry.in_hand:
                entry.left = set(entry.in_hand)
                self._entries[alert_id] = entry
        return found
