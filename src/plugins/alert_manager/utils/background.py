"""How channels that wake nobody leave the processors to reading, storing, and people's channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

LINGER = 0.1  # seconds; at 50 alerts a second, five are told with the statements of one
_TIMES = 30
_LONGEST = 1.0  # seconds


class Background(NamedTuple):
    """When a channel goes on telling; by default at once, as those that people read.

    Attributes:
        linger: seconds that it lets news gather before it tells them together.
        in_flood: says whether events come faster than they are judged. What is not stored yet is
            in greater danger than what is not told yet.
    """

    linger: float = 0.0
    in_flood: Callable[[], bool] = lambda: False

    def rest(self, took: float) -> float:
        """Returns the seconds to rest after claiming, sending and recording took `took` seconds."""
        return min(_TIMES * took, _LONGEST) if self.in_flood() else 0.0
