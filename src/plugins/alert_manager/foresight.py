"""What urgent alerts events will come to, judged while alert_db does not answer."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .domain.dedupe import is_repeat
from .domain.model import URGENT, RawEvent
from .domain.outcome import Candidate
from .ports import Cache, Known
from .recent import RecentStates
from .recorder import Recorder
from .silencer import Silencer


class Foresight:
    """Finds what people have to know now; all of it is judged once more when it can be stored.

    Rules that remember go on from what they remembered last, as far as that went through this
    process; events that do not come are not missed here.

    Args:
        max_age: seconds after which an event is too old to be told.
    """

    def __init__(
        self,
        recorder: Recorder,
        silencer: Silencer,
        cache: Cache,
        max_age: float,
    ) -> None:
        self._recorder = recorder
        self._silencer = silencer
        self._cache = cache
        self._max_age = max_age
        self._ahead = RecentStates()

    def forget(self) -> None:
        """Goes on from what is stored, the next time."""
        self._ahead = RecentStates()

    async def urgent(self, events: Sequence[RawEvent]) -> list[Candidate]:
        """Returns the alerts of severity alta and above, for people who were not told of them."""
        found: list[Candidate] = []
        taken = 0
        while taken < len(events):
            judged = await self._recorder.foresee(events[taken:], self._ahead)
            taken += judged.events
            found += self._silencer.mute_as_known(judged).candidates
        urgent = [candidate for candidate in found if self._is_urgent(candidate)]
        known = await self._cache.look_up(urgent)
        return [candidate for candidate in urgent if not _is_known(candidate, known)]

    def _is_urgent(self, candidate: Candidate) -> bool:
        recent = candidate.timestamp >= time.time() - self._max_age
        return candidate.severity >= URGENT and candidate.silence is None and recent


def _is_known(candidate: Candidate, known: Known) -> bool:
    """Says whether an alert was told before alert_db went away."""
    stored = known.get(candidate.fingerprint)
    return stored is not None and is_repeat(stored[1], candidate.timestamp, candidate.window)
