"""Which rows of `eventos` an entity and its mirror wrote themselves."""

from __future__ import annotations

import threading
from collections import deque

_REMEMBERED = 256


class OwnRows:
    """The ids of a pair's own publications; used by the loop and by database threads.

    An id is noted before its row is committed, so whoever sees the row finds it noted. The oldest
    ids are forgotten: `floor` then takes their place.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._ids: deque[int] = deque()
        self._remembered = remembered
        self._lock = threading.Lock()
        self._floor = 0
        self.resumed = False
        """Whether the floor of an earlier run of this entity was looked up."""

    @property
    def floor(self) -> int:
        """No row up to this id is news."""
        return self._floor

    def resume(self, newest: int) -> None:
        """Go on from the newest publication of an earlier run; 0 when there is none."""
        with self._lock:
            self._floor = max(self._floor, newest)
            self.resumed = True

    def note(self, row_id: int) -> None:
        """Remember one that is about to be committed."""
        with self._lock:
            self._ids.append(row_id)
            if len(self._ids) > self._remembered:
                self._floor = max(self._floor, self._ids.popleft())

    def ids(self) -> list[int]:
        """Those remembered."""
        with self._lock:
            return list(self._ids)

    def __contains__(self, row_id: int) -> bool:
        with self._lock:
            return row_id in self._ids
