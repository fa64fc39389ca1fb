"""Old events that were stored without telling each: what the one digest about them says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import Severity
from .outcome import Candidate


@dataclass(frozen=True, slots=True)
class Backlog:
    """Counts of old events by severity, and their first and last time (epoch seconds)."""

    counts: Mapping[Severity, int] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.counts)

    def plus(self, candidates: Iterable[Candidate]) -> Backlog:
        """Returns the backlog with more old events in it."""
        added = list(candidates)
        if not added:
            return self
        times = [c.timestamp for c in added] + ([self.first, self.last] if self else [])
        counts = Counter(self.counts)
        counts.update(c.severity for c in added)
        return Backlog(dict(counts), min(times), max(times))

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        counts = {severity.key: n for severity, n in self.counts.items()}
        return {"counts": counts, "first": self.first, "last": self.last}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Backlog:
        """Returns the backlog that `to_json` made JSON of; an empty mapping is an empty one."""
        if not stored:
            return cls()
        counts = {Severity.parse(key): int(n) for key, n in stored["counts"].items()}
        return cls(counts, float(stored["first"]), float(stored["last"]))
