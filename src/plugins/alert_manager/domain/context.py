"""What is known around an event: the market, the pool, the user. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .fingerprint import keyed
from .model import Event, Facts, Learned, Payload, StateKey, Wanted
from .paths import Path, getter, lookup
from .redact import redact

_MAX_TEXT = 200  # characters of a value that is kept
_NAMES = "contexto:"  # before the names in `rule_states`: no rule's name has a colon


@dataclass(frozen=True, slots=True)
class ContextSpec:
    """One thing that is known.

    Attributes:
        name: under which alerts carry it.
        channel: whose events tell it.
        fields: of these events that are kept, with the names that they get.
        per: the field by which it is told apart, in these events and in those that it is given to.
        channels: the CoreC channels whose alerts get it; None: all others.
    """

    name: str
    channel: str
    fields: Mapping[str, Path]
    per: Path | None = None
    channels: frozenset[str] | None = None


_KeyOf = Callable[[Payload], StateKey | None]
_Keyed = tuple[ContextSpec, _KeyOf]


class Context:
    """Finds what events tell, and what alerts are given."""

    def __init__(self, specs: Iterable[ContextSpec]) -> None:
        self._specs: tuple[_Keyed, ...] = tuple((spec, _keyed(spec)) for spec in specs)
        self._told_by: dict[str, list[_Keyed]] = {}
        for spec, key_of in self._specs:
            self._told_by.setdefault(spec.channel, []).append((spec, key_of))
        self._given_to = lru_cache(maxsize=1024)(self._all_for)

    @property
    def names(self) -> list[str]:
        """The names by which it is remembered."""
        return [_NAMES + spec.name for spec, _ in self._specs]

    @property
    def channels(self) -> Iterable[str]:
        """The channels whose events tell something."""
        return self._told_by.keys()

    def learned(self, event: Event) -> list[Learned]:
        """Returns what an event tells."""
        told_by = self._told_by.get(event.channel)
        if told_by is None:  # nearly always
            return []
        return [
            Learned(key, Facts(event.timestamp, values))
            for spec, key_of in told_by
            if (values := _values(spec, event.data)) and (key := key_of(event.data)) is not None
        ]

    def wanted(self, channel: str, data: Payload) -> tuple[Wanted, ...]:
        """Returns what an alert about an event of this channel is given, where it is known."""
        everybodys, keyed_ones = self._given_to(channel)
        if not keyed_ones:
            return everybodys
        found = [(spec.name, key_of(data)) for spec, key_of in keyed_ones]
        return (*everybodys, *[(name, key) for name, key in found if key is not None])

    def _all_for(self, channel: str) -> tuple[tuple[Wanted, ...], tuple[_Keyed, ...]]:
        """Returns what every alert of a channel is given, and what depends on its event."""
        given_to = [
            (spec, key_of)
            for spec, key_of in self._specs
            if channel != spec.channel and (spec.channels is None or channel in spec.channels)
        ]
        everybodys = [(spec.name, key_of({})) for spec, key_of in given_to if spec.per is None]
        return (
            tuple((name, key) for name, key in everybodys if key is not None),
            tuple((spec, key_of) for spec, key_of in given_to if spec.per is not None),
        )


def merged(known: Facts | None, new: Facts) -> Facts:
    """Returns what is known after an event: each field as told last."""
    if known is None:
        return new
    older, newer = sorted((known, new), key=lambda facts: facts.time)
    return Facts(newer.time, {**older.values, **newer.values})


def given(wanted: Iterable[Wanted], known: Mapping[StateKey, Facts]) -> dict[str, Any]:
    """Returns what an alert carries, by name; each with its time (epoch seconds)."""
    return {
        name: {**known[key].values, "timestamp": known[key].time}
        for name, key in wanted
        if key in known
    }


def _keyed(spec: ContextSpec) -> _KeyOf:
    name = _NAMES + spec.name
    if spec.per is None:
        return keyed(name, ())
    field, key = getter(spec.per), keyed(name, (spec.per,))
    return lambda data: None if field(data) is None else key(data)


def _values(spec: ContextSpec, data: Payload) -> dict[str, Any]:
    found = {name: lookup(data, path) for name, path in spec.fields.items()}
    # Redacted before it is cut: half a secret has no form by which it would be recognised.
    safe = redact({n: v for n, v in found.items() if isinstance(v, str | int | float)})
    return {n: v[:_MAX_TEXT] if isinstance(v, str) else v for n, v in safe.items()}
