"""What a batch of events comes to, from judging to the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from .model import Learned, Observation, Payload, Severity, StateKey, States, Wanted


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be judged, and why, in a sentence for a person."""

    source: str
    event_id: int | None
    channel: str
    reason: str
    timestamp: float
    instance_id: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """The end of what alerts stood for.

    Attributes:
        fingerprints: of the alerts that are over.
        message: says so, to those who were told of them.
        timestamp: event time of the end (epoch seconds).
        closes: True where the next of the kind is news, however soon it comes.
    """

    fingerprints: tuple[bytes, ...]
    message: str
    timestamp: float
    closes: bool = False


class Said(NamedTuple):
    """What people read of an alert: one short line, and one paragraph.

    Attributes:
        channels: both, for notification channels that tell it in other words.
    """

    title: str
    message: str
    channels: Mapping[str, tuple[str, str]] = {}

    def say(self) -> Said:
        """Returns it; nothing is left to be worded."""
        return self


class Wording(Protocol):
    """Words an alert; what only repeats another one needs no words."""

    def say(self) -> Said:
        """Returns the title and the message."""
        ...


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An alert to be, before dedupe: everything a row of `alerts` holds, apart from its id.

    Attributes:
        fingerprint: 16 bytes; equal for repeats of the same thing.
        window: seconds from the first alert in which a repeat is counted instead of told.
        targets: names of the notification channels that are to tell it.
        silence: number of the silence that covers it: only machines are told; None: there is none.
        wanted: what else it carries, as `context` in `event_data`, where it is known.
    """

    source: str
    event_id: int | None
    channel: str
    rule: str
    severity: Severity
    words: Wording
    event_data: Payload
    timestamp: float
    instance_id: str | None
    fingerprint: bytes
    window: float
    targets: tuple[str, ...]
    wanted: tuple[Wanted, ...] = ()
    silence: int | None = None


class Change(NamedTuple):
    """A threshold's new value.

    Attributes:
        base: the number in the configuration while it was changed.
        timestamp: event time of the command (epoch seconds).
        who: asked for it, as the command says.
    """

    name: str
    old: float
    new: float
    base: float
    timestamp: float
    who: str


class SilencesSeen(NamedTuple):
    """Which silences were looked at, and when that was thought to be.

    Attributes:
        version: as `Silences.version`.
        ahead: the server's clock, of our monotonic one (seconds).
    """

    version: str
    ahead: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What one batch of events came to.

    Attributes:
        events: counts all of them, alert or not.
        observations: events that rules still have to see together with what they remember, and
            what events tell, each with the number of candidates that come before it.
        keys: of what is remembered that these and the candidates need.
        states: what rules remember after the batch, with the version that it was made from.
        changes: thresholds that the last of its events changed.
        thresholds: number of the newest change that it was judged with; None: it used none.
        unsure: True where something seemed to be missing that another source may still bring.
        quiet_before: people are not told of events before it (epoch seconds), one by one.
        silences: that were looked at; None: none were.
        revived: ids of dead letters whose events these are; they are none any more.
    """

    events: int
    candidates: tuple[Candidate, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    observations: tuple[tuple[int, Observation | Learned], ...] = ()
    keys: frozenset[StateKey] = frozenset()
    resolutions: tuple[Resolution, ...] = ()
    states: States = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    thresholds: int | None = None
    unsure: bool = False
    quiet_before: float = 0.0
    silences: SilencesSeen | None = None
    revived: tuple[int, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """True where there is nothing to be stored."""
        return not (
            self.candidates
            or self.dead_letters
            or self.resolutions
            or self.states
            or self.changes
            or self.revived
        )


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit stored.

    Attributes:
        alerts: id of the new alert by its index in `Judged.candidates`.
        repeats: number of candidates that were counted on an existing alert.
        dead_letters: number of dead letters stored.
        known: (alert id, event time of the first alert) of each fingerprint, for the cache.
        channels: notification channels that have something new to tell.
        told: (alert id, channel) of what was told before it was stored.
    """

    alerts: Mapping[int, int] = field(default_factory=dict)
    repeats: int = 0
    dead_letters: int = 0
    known: Mapping[bytes, tuple[int, float]] = field(default_factory=dict)
    channels: frozenset[str] = frozenset()
    told: frozenset[tuple[int, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Summary:
    """What one or more batches came to; counts."""

    events: int = 0
    alerts: int = 0
    repeats: int = 0
    dead_letters: int = 0

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.events + other.events,
            self.alerts + other.alerts,
            self.repeats + other.repeats,
            self.dead_letters + other.dead_letters,
        )
