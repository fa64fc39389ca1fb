"""What rules last remembered, for judging while alert_db does not answer."""

from __future__ import annotations

from collections.abc import Iterable

from .domain.model import StateKey, States, StoredState

_MOST = 5000  # keys; the rest is not known ahead of alert_db


class RecentStates:
    """The newest states that went through our hands, as they are stored."""

    def __init__(self) -> None:
        self._states: dict[StateKey, StoredState] = {}

    def update(self, states: States) -> None:
        """Hears what is stored."""
        for key, state in states.items():
            self._states.pop(key, None)  # to the end: the oldest goes first
            self._states[key] = state
        while len(self._states) > _MOST:
            del self._states[next(iter(self._states))]

    def of(self, keys: Iterable[StateKey]) -> dict[StateKey, StoredState]:
        """Returns what is known of these keys."""
        return {key: self._states[key] for key in keys if key in self._states}
