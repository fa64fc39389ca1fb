"""Keeps people from being told of alerts that somebody has silenced; what is stored stays whole."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import msgspec

from .domain.outcome import Candidate, Judged, SilencesSeen
from .domain.silences import Silence, Silences, first_covering
from .ports import Store

_FRESH = 60.0  # seconds; clocks drift, and a commit notices no less than 2 s


class Silencer:
    """Mutes alerts before they are committed.

    Args:
        machines: notification channels that are told all the same: no person reads them.
    """

    def __init__(self, store: Store, machines: Collection[str]) -> None:
        self._store = store
        self._machines = frozenset(machines)
        self._known = Silences((), 0.0, 0.0)
        self._looked_at = float("-inf")

    async def mute(self, judged: Judged) -> Judged:
        """Returns what was judged, with what is silenced told to machines alone.

        By the silences of up to a minute ago; a commit finds out whether they have changed.

        Raises:
            NotNowError: alert_db does not answer.
        """
        if not judged.candidates:
            return judged
        if time.monotonic() - self._looked_at > _FRESH:
            self._known = await self._store.load_silences()
            self._looked_at = time.monotonic()
        seen = SilencesSeen(self._known.version, self._known.ahead)
        return replace(self.mute_as_known(judged), silences=seen)

    def outdated(self) -> None:
        """Hears that the silences have changed."""
        self._looked_at = float("-inf")

    def mute_as_known(self, judged: Judged) -> Judged:
        """Does the same by the silences that were last read."""
        now = time.monotonic() + self._known.ahead  # alert_db's; the machine's clock may be wrong
        counting = [silence for silence in self._known.all if silence.counts(now)]
        if not counting:
            return judged
        candidates = tuple(self._quiet(candidate, counting) for candidate in judged.candidates)
        return replace(judged, candidates=candidates)

    def _quiet(self, candidate: Candidate, counting: Sequence[Silence]) -> Candidate:
        about = (candidate.rule, candidate.severity, candidate.channel, candidate.event_data)
        number = first_covering(counting, *about)
        if number is None:
            return candidate
        targets = tuple(n for n in candidate.targets if n in self._machines)
        return msgspec.structs.replace(candidate, targets=targets, silence=number)
