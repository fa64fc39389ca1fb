"""Looks for events that did not come, of those that rules await."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from .domain.outcome import Judged
from .ports import Store
from .recorder import Recorder

INTERVAL = 1.0  # seconds between two looks
GRACE = 2.0  # seconds that an event may take from its time to its commit
_PAGE = 500  # states in one commit


class Absences:
    """Finds deadlines that have passed while everything that came is judged."""

    def __init__(self, recorder: Recorder, store: Store) -> None:
        self._recorder = recorder
        self._store = store
        self._looked = float("-inf")
        self._checked = self._tidied = False

    async def look(self) -> AsyncIterator[Judged]:
        """Yields what did not come, to be committed at once; nothing where a look was just taken.

        Raises:
            NotNowError: alert_db does not answer.
        """
        if not self._tidied:
            # A rule that was taken out, and returns, would miss what came meanwhile.
            await self._store.forget_states(self._recorder.remembering)
            self._tidied = True
        rules = self._recorder.awaiting
        if not rules or time.monotonic() - self._looked < INTERVAL:
            return
        self._looked = time.monotonic()
        until = await self._store.judged_until(self._recorder.silence) - GRACE
        # What rules said when a deadline was stored may have changed: the first look asks all.
        limit = until if self._checked else float("inf")
        after = None
        while states := await self._store.load_due(rules, limit, after, _PAGE):
            after = list(states)[-1]
            judged = await self._recorder.missing(states, until)
            if judged.states:
                yield judged
        self._checked = True
