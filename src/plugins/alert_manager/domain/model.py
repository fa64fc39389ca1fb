"""The values that travel through the pipeline, from a row of `eventos` to a message.

Those that exist for every event are msgspec structs: made in a tenth of a frozen dataclass's time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
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
        return _KEYS[self]

    @property
    def label(self) -> str:
        """The name as people read it, for instance `crítica`."""
        return "crítica" if self is Severity.CRITICA else _KEYS[self]

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


_KEYS = ("", *(severity.name.lower() for severity in Severity))  # an enum's own name is slow
URGENT = Severity.ALTA
"""From here on people have to know now: by another channel, or without alert_db."""


class RawEvent(msgspec.Struct, frozen=True, gc=False):
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
        settled: what was written until then (epoch seconds) is not still to appear.
    """

    events: tuple[RawEvent, ...]
    position: P
    more: bool = False
    anew: str | None = None
    settled: float = float("inf")


class Event(msgspec.Struct, frozen=True, gc=False):
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


class Match(msgspec.Struct, frozen=True, gc=False):
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


class Occurrence(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One event as rules remember it.

    Attributes:
        time: epoch seconds.
        mark: the same for events with the same content.
        road: by which way it came, a `Road`.
    """

    time: float
    mark: int
    road: int


class Observation(msgspec.Struct, frozen=True, gc=False):
    """An event that a rule has to see together with what it remembers.

    Attributes:
        value: the number in the rule's field; None where it counts events.
    """

    key: StateKey
    occurrence: Occurrence
    value: float | None
    event: Event


class Facts(msgspec.Struct, frozen=True):
    """What is known around events, as of a time (epoch seconds)."""

    time: float
    values: Mapping[str, Any]


Wanted = tuple[str, StateKey]
"""Something that an alert carries where it is known: its name, and the key that it is kept by."""


class Learned(NamedTuple):
    """Something that an event tells."""

    key: StateKey
    facts: Facts


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
