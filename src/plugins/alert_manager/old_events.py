"""Events too old to be pushed to people one by one: stored, reported, told in one digest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec

from .domain.outcome import Candidate, Judged


class OldEvents:
    """Takes old events out of people's way.

    Args:
        max_age: seconds after which an event is old.
        machines: notification channels that are told of old events too: nobody is woken by them.
    """

    def __init__(self, max_age: float, machines: Collection[str]) -> None:
        self._max_age = max_age
        self._machines = frozenset(machines)

    def quieten(self, judged: Judged, now: float) -> tuple[Judged, list[Candidate]]:
        """Returns what was judged with old events told to machines alone, and those events.

        `now` in epoch seconds.
        """
        before = now - self._max_age
        old = [c for c in judged.candidates if c.timestamp < before]
        judged = replace(judged, quiet_before=before)
        if not old:
            return judged, old
        candidates = tuple(self._quiet(c) if c.timestamp < before else c for c in judged.candidates)
        return replace(judged, candidates=candidates), old

    def _quiet(self, candidate: Candidate) -> Candidate:
        return msgspec.structs.replace(
            candidate, targets=tuple(n for n in candidate.targets if n in self._machines)
        )
