"""What is known around an event: the market, the pool, the user. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .fingerprint import state_key
from .model import Event, Facts, Learned, Payload, StateKey, Wanted
from .paths import Path, lookup
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


class Context:
    """Finds what events tell, and what alerts are given."""

    def __init__(self, specs: Iterable[ContextSpec]) -> None:
        self._specs = tuple(specs)
        self._told_by: dict[str, list[ContextSpec]] = {}
        for spec in self._specs:
            self._told_by.setdefault(spec.channel, []).append(spec)
        self._given_to = lru_cache(maxsize=1024)(self._specs_for)

    def learned(self, event: Event) -> list[Learned]:
        """Returns what an event tells."""
        return [
            Learned(key, Facts(event.timestamp, values))
            for spec in self._told_by.get(event.channel, ())
            if (values := _values(spec, event.data)) and (key := _key(spec, event.data)) is not None
        ]

    def wanted(self, channel: str, data: Payload) -> tuple[Wanted, ...]:
        """Returns what an alert about an event of this channel is given, where it is known."""
        return tuple(
            (spec.name, key)
            for spec in self._given_to(channel)
            if (key := _key(spec, data)) is not None
        )

    def _specs_for(self, channel: str) -> tuple[ContextSpec, ...]:
        return tuple(
            spec
            for spec in self._specs
            if channel != spec.channel and (spec.channels is None or channel in spec.channels)
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


def _key(spec: ContextSpec, data: Payload) -> StateKey | None:
    if spec.per is None:
        return state_key(_NAMES + spec.name, {}, ())
    if lookup(data, spec.per) is None:
        return None
    return state_key(_NAMES + spec.name, data, (spec.per,))


def _values(spec: ContextSpec, data: Payload) -> dict[str, Any]:
    found = {name: lookup(data, path) for name, path in spec.fields.items()}
    return redact(
        {
            name: value[:_MAX_TEXT] if isinstance(value, str) else value
            for name, value in found.items()
            if isinstance(value, str | int | float)
        }
    )
