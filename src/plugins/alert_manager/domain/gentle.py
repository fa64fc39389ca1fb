"""How much of a long work is done at once, so that nobody beside it waits for long."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE = 0.02  # seconds that a piece should take
_SHARE = 0.1  # of the time, that the work may take
_LEAST, _MOST = 10, 1000  # rows of a piece
_BREATH = 0.01  # seconds between two pieces, at the least
_LONGEST_BREATH = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of the work: rows of it, and seconds to wait before."""

    rows: int = 100
    wait: float = 0.0

    def after(self, seconds: float) -> Piece:
        """Returns the piece after this one, which took so many seconds."""
        rows = self.rows
        if seconds > AT_ONCE:
            rows = max(_LEAST, rows // 2)
        elif seconds < AT_ONCE / 2:
            rows = min(_MOST, rows + rows // 2)
        wait = seconds * (1 - _SHARE) / _SHARE
        return Piece(rows, min(max(wait, _BREATH), _LONGEST_BREATH))
