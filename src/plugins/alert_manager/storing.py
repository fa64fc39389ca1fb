"""Whether alert_db takes what is to be stored."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from .domain.errors import StaleReaderError, StaleStateError


class Storing:
    """Hears what becomes of commits, and of a place that is stored alone."""

    def __init__(self) -> None:
        self.failing_since: float | None = None
        """Since when alert_db answers, and takes nothing (monotonic)."""

    @property
    def works(self) -> bool:
        """False since what was to be stored last was not taken."""
        return self.failing_since is None

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """Hears what the block comes to."""
        try:
            yield
        except (StaleReaderError, StaleStateError):  # it takes commits, of somebody else
            self.failing_since = None
            raise
        except Exception:
            self.failing_since = self.failing_since or time.monotonic()
            raise
        self.failing_since = None
