"""What the spool keeps of an alert, and of who was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ..domain.model import Payload, Severity
from ..domain.outcome import Candidate, Said


class StoredAlert(msgspec.Struct, frozen=True):
    """A candidate as the spool keeps it, in words; its event's data is kept beside it."""

    source: str
    event_id: int | None
    channel: str
    rule: str
    severity: int
    title: str
    message: str
    words: Mapping[str, tuple[str, str]]
    timestamp: float
    instance_id: str | None
    fingerprint: bytes
    window: float
    targets: tuple[str, ...]

    @classmethod
    def of(cls, candidate: Candidate) -> StoredAlert:
        """Words a candidate."""
        said = candidate.words.say()
        return cls(
            candidate.source,
            candidate.event_id,
            candidate.channel,
            candidate.rule,
            int(candidate.severity),
            said.title,
            said.message,
            said.channels,
            candidate.timestamp,
            candidate.instance_id,
            candidate.fingerprint,
            candidate.window,
            candidate.targets,
        )

    def candidate(self, event_data: Payload) -> Candidate:
        """Returns what it was made of, together with its event's data."""
        return Candidate(
            self.source,
            self.event_id,
            self.channel,
            self.rule,
            Severity(self.severity),
            Said(self.title, self.message, self.words),
            event_data,
            self.timestamp,
            self.instance_id,
            self.fingerprint,
            self.window,
            self.targets,
        )


@dataclass(frozen=True, slots=True)
class Told:
    """A message that a channel has taken.

    Attributes:
        number: of it in the spool.
        timestamp: event time of its alert; `window` is around it (seconds).
        told_at: epoch seconds.
        progress: who of its recipients is left, as JSON; None: nobody.
    """

    number: int
    fingerprint: bytes
    timestamp: float
    window: float
    channel: str
    told_at: float
    attempts: int
    answer: str | None
    external_id: str | None
    progress: str | None


def decoded(alert: str) -> StoredAlert:
    """Reads an alert as the spool keeps it."""
    return msgspec.json.decode(alert, type=StoredAlert)
