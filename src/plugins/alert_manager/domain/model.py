"""The values that travel through the pipeline, from a row of `eventos` to a message."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec


class AnyPosition(Protocol):
    """How far a source is read. Only its reader knows what is in it."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON, which its reader can read again."""
        ...


P = TypeVar("P", bound=AnyPosition)
"""A source's position."""

Payload = Mapping[str, Any]


class Severity(enum.IntEnum):
    """How urgent an alert is; higher is more urgent, so that they compare."""

    BAJA = 1
    MEDIA = 2
    ALTA = 3
    CRITICA = 4

    @property
    def key(self) -> str:
        """The name in data and configuration, for instance `critica`."""
        return self.name.lower()

    @property
    def label(self) -> str:
        """The name as people read it, for instance `crítica`."""
        return "crítica" if self is Severity.CRITICA else self.key

    @classmethod
    def parse(cls, text: str) -> Severity:
        """Reads a severity, with or without its accent.

        Raises:
            ValueError: `text` names no severity.
        """
        plain = text.strip().lower().replace("í", "i")
        for severity in cls:
            if severity.key == plain:
                return severity
        allowed = ", ".join(s.key for s in sorted(cls, reverse=True))
        raise ValueError(f"se encontró {text!r}; se permite: {allowed}")


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as its source gave it, before it is decoded.

    Attributes:
        source: where it came from: `eventos`, or `push` when the host handed it over.
        event_id: the row's id in `eventos`; None for a source without ids.
        channel: the CoreC channel (`canal`).
        payload: what `datos` held; None when the reader refused to fetch it (see `size`).
        timestamp: seconds since the epoch as the writer gave it; may be absent or nonsense.
        instance_id: the CoreC instance that wrote it.
        size: bytes of `payload` as stored.
    """

    source: str
    event_id: int | None
    channel: str
    payload: bytes | str | Payload | None
    timestamp: float | None
    instance_id: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Fetched(Generic[P]):
    """Events of one poll, in their source's order, and the position after them.

    Attributes:
        more: True when more events are waiting.
        anew: set where a table or stream was emptied or restored, and `position` is where reading
            begins anew: says which, and until where it was read.
    """

    events: tuple[RawEvent, ...]
    position: P
    more: bool = False
    anew: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event.

    `timestamp` is a finite number of seconds since the epoch, `size` the stored payload's bytes.
    """

    source: str
    event_id: int | None
    channel: str
    data: Payload
    timestamp: float
    instance_id: str | None
    size: int = 0


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
class Match:
    """A rule that found something in an event.

    Attributes:
        rule: the rule's name.
        severity: how urgent.
        value: the number (or invalid value) that the rule compared, if it compared one.
        threshold: the limit that was reached, if there was one.
        invalid: True when the compared field held no finite number.
        before: the value that a change is measured from.
        since: event time at which the state began that the alert stands for as long as it lasts.
        last: event time of the last event, where it is one that does not come that is told.
    """

    rule: str
    severity: Severity
    value: Any = None
    threshold: float | None = None
    invalid: bool = False
    before: float | None = None
    since: float | None = None
    last: float | None = None


StateKey = tuple[str, bytes]
"""A rule's name, and 16 bytes that stand for what it remembers apart."""


class Occurrence(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One event as rules remember it.

    Attributes:
        time: epoch seconds.
        mark: the same for events with the same content.
        road: by which way it came, a `Road`.
    """

    time: float
    mark: int
    road: int


@dataclass(frozen=True, slots=True)
class Observation:
    """An event that a rule has to see together with what it remembers.

    Attributes:
        value: the number in the rule's field; None where it counts events.
    """

    key: StateKey
    occurrence: Occurrence
    value: float | None
    event: Event


class StoredState(NamedTuple):
    """What a rule remembers.

    Attributes:
        text: as JSON.
        version: of it that is stored; 0: none.
        deadline: when an event is missed, if none comes until then (epoch seconds).
    """

    text: str
    version: int
    deadline: float | None = None


States = Mapping[StateKey, StoredState]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The end of what alerts stood for.

    Attributes:
        fingerprints: of the alerts that are over.
        message: says so, to those who were told of them.
        timestamp: event time of the end (epoch seconds).
    """

    fingerprints: tuple[bytes, ...]
    message: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """An alert to be, before dedupe: everything a row of `alerts` holds, apart from its id.

    Attributes:
        fingerprint: 16 bytes; equal for repeats of the same thing.
        window: seconds from the first alert in which a repeat is counted instead of told.
        targets: names of the notification channels that are to tell it.
    """

    source: str
    event_id: int | None
    channel: str
    rule: str
    severity: Severity
    title: str
    message: str
    event_data: Payload
    timestamp: float
    instance_id: str | None
    fingerprint: bytes
    window: float
    targets: tuple[str, ...]


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


@dataclass(frozen=True, slots=True)
class Judged:
    """What one batch of events came to.

    Attributes:
        events: counts all of them, alert or not.
        observations: events that rules still have to see together with what they remember, each
            with the number of candidates that come before it.
        states: what rules remember after the batch, with the version that it was made from.
        changes: thresholds that the last of its events changed.
        thresholds: number of the newest change that it was judged with; None: it used none.
        quiet_before: people are not told of events before it (epoch seconds), one by one.
    """

    events: int
    candidates: tuple[Candidate, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    observations: tuple[tuple[int, Observation], ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    states: States = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    thresholds: int | None = None
    quiet_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit stored.

    Attributes:
        alerts: id of the new alert by its index in `Judged.candidates`.
        repeats: number of candidates that were counted on an existing alert.
        dead_letters: number of dead letters stored.
        known: (alert id, event time of the first alert) of each fingerprint, for the cache.
        channels: notification channels that have something new to tell.
    """

    alerts: Mapping[int, int] = field(default_factory=dict)
    repeats: int = 0
    dead_letters: int = 0
    known: Mapping[bytes, tuple[int, float]] = field(default_factory=dict)
    channels: frozenset[str] = frozenset()
