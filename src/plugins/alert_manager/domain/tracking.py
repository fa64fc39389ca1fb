"""What events come to together with what their rules remember. Values in, values out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from .absence import Awaited, Heard, heard
from .change import Direction, Sample, compared, difference
from .dedupe import TWIN_WINDOW
from .fingerprint import mark
from .frequency import counted
from .hysteresis import Lasting, Step, step
from .model import Match, Observation, Occurrence, Payload
from .paths import Path, lookup, nested
from .redact import redact, redact_text
from .rule_spec import RISING, Change, Measure, RuleSpec


class RuleState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule remembers of one key.

    Attributes:
        seen: events that are counted.
        late: of these, what came when much newer ones had been.
        samples: values that changes are measured from.
        late_samples: of these, as above.
        lasting: the state that an alert stands for.
        heard: when an event that has to come did so last.
    """

    seen: tuple[Occurrence, ...] = ()
    late: tuple[Occurrence, ...] = ()
    samples: tuple[Sample, ...] = ()
    late_samples: tuple[Sample, ...] = ()
    lasting: Lasting = Lasting()
    heard: Heard | None = None


class Tracked(NamedTuple):
    """What an observation comes to.

    Attributes:
        match: what is to be told, or None.
        ended: when what is over now had begun (event time, epoch seconds); None: nothing is over.
        value: the number that was compared.
        about: what the alert is about, where it is no event; safe to show.
    """

    match: Match | None = None
    ended: float | None = None
    value: float | None = None
    about: Payload | None = None


Track = Callable[[RuleState, Observation], tuple[RuleState, Tracked]]

_NOTHING = Tracked()
_MAX_SHOWN = 200  # characters of a field that is kept


class _Number(NamedTuple):
    """The number that is compared, and the value that it is a change from."""

    value: float
    before: float | None = None


_Measured = Callable[[RuleState, Observation], tuple[RuleState, _Number | None]]


def compile_tracks(
    rules: Iterable[RuleSpec], thresholds: Mapping[str, float]
) -> Mapping[str, Track]:
    """Compiles rules that remember, by their name.

    Raises:
        KeyError: a rule names a threshold that does not exist.
    """
    tracks: dict[str, Track] = {}
    for spec in rules:
        if spec.absence is not None:
            tracks[spec.name] = _awaiting(spec, spec.absence)
        elif spec.measure is not None and spec.measure.remembers:
            tracks[spec.name] = _track(spec.name, spec.measure, thresholds)
    return tracks


def missing(spec: RuleSpec, state: RuleState, until: float) -> tuple[RuleState, Tracked]:
    """Returns what it comes to that no event came until a moment (epoch seconds)."""
    before, awaited = state.heard, spec.absence
    if before is None or awaited is None or before.absent is not None:
        return state, _NOTHING
    if before.awaited_by != _asked(spec):  # nothing can come under its key any more
        return msgspec.structs.replace(state, heard=None), _NOTHING
    deadline = before.deadline(awaited)
    if deadline > until:
        return state, _NOTHING
    after = msgspec.structs.replace(before, absent=deadline)
    return msgspec.structs.replace(state, heard=after), _missed(spec, awaited, before, deadline)


def is_gap(tracked: Tracked) -> bool:
    """Says whether it is an absence that begins and ends between two events."""
    return tracked.about is not None and tracked.match is not None and tracked.ended is not None


def deadline(spec: RuleSpec, state: RuleState) -> float | None:
    """Returns when the next event is missed (epoch seconds), where one is awaited."""
    if state.heard is None or spec.absence is None or state.heard.absent is not None:
        return None
    return state.heard.deadline(spec.absence)


def _awaiting(spec: RuleSpec, awaited: Awaited) -> Track:
    per, asked = spec.per, _asked(spec)

    def track(state: RuleState, observation: Observation) -> tuple[RuleState, Tracked]:
        before = state.heard
        if before is None or before.awaited_by != asked:
            new = Heard(
                observation.occurrence.time,
                _shown(observation.event.data, per),
                awaited_by=asked,
            )
            over = _NOTHING
            if before is not None and before.absent is not None:
                # The rule asks otherwise since: what came back ends what was told all the same.
                over = Tracked(ended=before.absent, about=before.fields)
            return msgspec.structs.replace(state, heard=new), over
        fields = before.fields
        after, missed, ended = heard(before, observation.occurrence.time, awaited)
        tracked = _NOTHING
        if missed is not None:
            tracked = _missed(spec, awaited, before, missed)
        if ended is not None:
            tracked = tracked._replace(ended=ended, about=fields)
        return msgspec.structs.replace(state, heard=after), tracked

    return track


def _asked(spec: RuleSpec) -> int:
    """Returns a number that is another where a rule's events or keys are others."""
    return mark({"per": spec.per, "when": [repr(condition) for condition in spec.when]})


def _missed(spec: RuleSpec, awaited: Awaited, before: Heard, since: float) -> Tracked:
    match = Match(
        spec.name,
        spec.least_severity,
        value=since - before.last,
        threshold=awaited.every,
        since=since,
        last=before.last,
    )
    return Tracked(match, about=before.fields)


def _shown(data: Payload, per: tuple[Path, ...]) -> Payload:
    """Returns the fields that make a key, safe to keep and to show."""
    shown = {
        # Redacted before it is cut: half a secret has no form by which it would be recognised.
        path: value if isinstance(value, int | float) else redact_text(str(value))[:_MAX_SHOWN]
        for path in per
        if (value := lookup(data, path)) is not None
    }
    return redact(nested(shown))


def _track(name: str, measure: Measure, thresholds: Mapping[str, float]) -> Track:
    measured, reach = _measured(measure), measure.reach(thresholds)
    cleared = _cleared(measure, thresholds)
    before = max(TWIN_WINDOW, measure.within or 0.0)

    def track(state: RuleState, observation: Observation) -> tuple[RuleState, Tracked]:
        state, number = measured(state, observation)
        if number is None:
            return state, _NOTHING
        reached = reach(number.value)
        match = None
        if reached is not None:
            match = Match(name, reached[0], number.value, reached[1], before=number.before)
        if cleared is None:
            return state, _NOTHING if match is None else Tracked(match)
        lasting, tracked = _lasting(
            state.lasting, observation.occurrence, match, cleared(number.value), before
        )
        return msgspec.structs.replace(state, lasting=lasting), tracked._replace(value=number.value)

    return track


def _lasting(
    lasting: Lasting, event: Occurrence, match: Match | None, cleared: bool, reach: float
) -> tuple[Lasting, Tracked]:
    reached = None if match is None else match.severity
    lasting, outcome, episode = step(lasting, event, reached, cleared, reach)
    if episode is None:
        return lasting, _NOTHING
    if match is None:
        return lasting, Tracked(ended=episode.since)
    told = msgspec.structs.replace(match, severity=episode.severity, since=episode.since)
    return lasting, Tracked(told, episode.since if outcome is Step.FLEETING else None)


def _measured(measure: Measure) -> _Measured:
    if measure.path is None:
        return _counted(measure.within or 0.0)
    if measure.change is not None:
        return _changed(measure, measure.change)
    return lambda state, observation: (
        state,
        None if observation.value is None else _Number(observation.value),
    )


def _counted(within: float) -> _Measured:
    def count(state: RuleState, observation: Observation) -> tuple[RuleState, _Number]:
        seen, late, number = counted(state.seen, state.late, observation.occurrence, within)
        return msgspec.structs.replace(state, seen=seen, late=late), _Number(float(number))

    return count


def _changed(measure: Measure, change: Change) -> _Measured:
    direction = Direction.RISE if measure.comparison in RISING else Direction.FALL
    if measure.absolute:
        direction = Direction.BOTH
    within, percent = measure.within, change is Change.PERCENT

    def changed(state: RuleState, observation: Observation) -> tuple[RuleState, _Number | None]:
        if observation.value is None:
            return state, None
        new = Sample(observation.occurrence.time, observation.value)
        samples, late, base = compared(state.samples, state.late_samples, new, within, direction)
        found = difference(base, new.value, direction, percent)
        return (
            msgspec.structs.replace(state, samples=samples, late_samples=late),
            None if found is None else _Number(found[0], found[1].value),
        )

    return changed


def _cleared(measure: Measure, thresholds: Mapping[str, float]) -> Callable[[float], bool] | None:
    """Returns what says whether a number ends an alert; None where nothing does."""
    if measure.clear is None:
        return None
    limit, absolute = measure.clear.resolve(thresholds), measure.absolute
    compare = operator.lt if measure.comparison in RISING else operator.gt
    return lambda number: compare(abs(number) if absolute else number, limit)
