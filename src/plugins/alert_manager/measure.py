"""Finds what rules compare in events, whatever their limits are. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .domain.decode import DecodeError, Decoder
from .domain.fingerprint import fingerprint
from .domain.measured import Series
from .domain.model import Event, Match, RawEvent, Severity, StateKey
from .domain.rule_spec import RISING, Limit, Measure
from .domain.rules import compile_rules
from .domain.tracking import RuleState, compile_tracks
from .letters import event_time
from .settings import Settings

_NEW = RuleState()


@dataclass(slots=True)
class Measured:
    """The numbers that each rule with levels compared, by its name.

    Attributes:
        first: time of the first event of all (epoch seconds).
    """

    series: dict[str, Series]
    first: float = float("inf")

    @classmethod
    def of(cls, parts: Sequence[Measured]) -> Measured:
        """Returns several as one; each rule's numbers are in one of them."""
        series = dict(parts[0].series)
        for part in parts[1:]:
            series |= {name: found for name, found in part.series.items() if found.times}
        return cls(series, min(part.first for part in parts))


class Measuring:
    """Takes events, and keeps what rules compare in them."""

    def __init__(self, settings: Settings) -> None:
        specs = settings.alert_config.specs()
        self._identities = {spec.name: spec.identity for spec in specs}
        self._absolute = {spec.name for spec in specs if spec.measure and spec.measure.absolute}
        # All of them, as an `otherwise` rule asks whether another one applied.
        unlimited = [replace(spec, measure=_unlimited(spec.measure)) for spec in specs]
        self._rules = compile_rules(unlimited, {})
        self._tracks = compile_tracks(unlimited, {})
        self._states: dict[StateKey, RuleState] = {}
        self._decoder = Decoder(settings.config.limits.limits())
        self.measured = Measured(
            {spec.name: Series() for spec in specs if spec.measure is not None}
        )
        self._channels = frozenset(
            channel
            for spec in specs
            if spec.name in self.measured.series
            for channel in spec.channels
        )

    def feed(self, events: Iterable[RawEvent], now: float) -> None:
        """Takes the next events; `now` (epoch seconds) stands in for bad times."""
        for raw in events:
            time = event_time(raw.timestamp, now)
            self.measured.first = min(self.measured.first, time)
            if raw.channel not in self._channels or raw.payload is None:
                continue
            try:
                data = self._decoder.decode(raw.payload)
            except DecodeError:
                continue  # it has no numbers; `backtest` counts these
            event = Event(raw.source, raw.event_id, raw.channel, data, time, raw.instance_id)
            for found in self._rules(event):
                if isinstance(found, Match):
                    self._add(event, found)
                    continue
                state = self._states.get(found.key, _NEW)
                self._states[found.key], tracked = self._tracks[found.key[0]](state, found)
                if tracked.match is not None:
                    self._add(event, tracked.match)

    def _add(self, event: Event, match: Match) -> None:
        series = self.measured.series.get(match.rule)
        if series is None or match.invalid or match.value is None:
            return
        kind = fingerprint("", Severity.BAJA, event.data, self._identities[match.rule])
        value = abs(match.value) if match.rule in self._absolute else match.value
        series.add(event.timestamp, value, kind)


def _unlimited(measure: Measure | None) -> Measure | None:
    """Returns a measure whose limit every number reaches."""
    if measure is None:
        return None
    limit = Limit(float("-inf") if measure.comparison in RISING else float("inf"))
    return replace(measure, levels=((Severity.BAJA, limit),), clear=None)
