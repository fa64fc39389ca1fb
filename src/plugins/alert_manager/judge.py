"""What a batch of events comes to: decode, classify, follow commands. No I/O, no clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from .candidates import MAX_CHANNEL, Candidates
from .domain.decode import DecodeError, Decoder
from .domain.model import (
    Candidate,
    Change,
    DeadLetter,
    Event,
    Judged,
    Observation,
    Payload,
    RawEvent,
    Resolution,
    StateKey,
    States,
    StoredState,
)
from .domain.redact import redact_text
from .domain.rule_spec import RuleSpec
from .domain.rules import compile_rules
from .domain.thresholds import CommandError, StoredThresholds, current, is_command, read_command
from .domain.tracking import RuleState, compile_tracks, deadline, missing
from .faults import log_fault
from .settings import REPORTS, Loaded

log = logging.getLogger("corec.alert_manager.judge")

MAX_DECODED = 4 << 20  # bytes
_EARLIEST = 946_684_800.0  # 2000-01-01: an older event time is a broken clock, not an event
# Seconds that a writer's clock may be ahead. What rules remember of a time that is still to come
# would stand in the way of everything until then.
_AHEAD = 60.0
_NEW = RuleState()
_UNSTORED = StoredState("", 0)
_RuleStates = Mapping[StateKey, RuleState]


class BatchJudge:
    """Judges batches by one configuration; belongs to one thread at a time (its decoder does)."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        self._config = settings.alert_config
        self._decoder = Decoder(settings.config.limits.limits())
        # Our own reports come back, too: each holds a payload of the largest size, and more.
        self._reports_decoder = Decoder(settings.config.limits.limits(factor=4))
        specs = self._config.specs()
        self._specs: Mapping[str, RuleSpec] = {spec.name: spec for spec in specs}
        self._candidates = Candidates(self._specs, loaded)
        self._watched = frozenset(settings.watched())
        self.use(StoredThresholds())

    def use(self, stored: StoredThresholds) -> None:
        """Goes on with the thresholds that commands have set."""
        self._version = stored.version
        self._thresholds = current(self._config.bounds(), stored)
        values = {name: threshold.value for name, threshold in self._thresholds.items()}
        if (fault := self._config.threshold_fault(values)) is not None:
            log.error("los umbrales que se cambiaron no van con la configuración: %s", fault)
            self._thresholds = current(self._config.bounds(), StoredThresholds())
            values = self._config.thresholds
        specs = self._specs.values()
        self._rules = compile_rules(specs, values)
        self._tracks = compile_tracks(specs, values)

    def judge(self, raw_events: Iterable[RawEvent], now: float) -> Judged:
        """Judges events in their order, as many as can be judged alike; at least one.

        `now` (seconds since the epoch) stands in for bad times. `events` of the answer says how
        many were taken: small rows may unpack to gigabytes, and a batch has to end in about 1 s;
        what comes after a changed threshold is judged by that.
        """
        candidates: list[Candidate] = []
        observations: list[tuple[int, Observation]] = []
        dead: list[DeadLetter] = []
        changes: tuple[Change, ...] = ()
        count = 0
        self._decoder.decoded_bytes = self._reports_decoder.decoded_bytes = 0
        for raw in raw_events:
            if self._decoded_bytes > MAX_DECODED or changes:
                break
            count += 1
            if raw.channel not in self._watched:
                continue
            timestamp = event_time(raw.timestamp, now)
            try:
                data = self._decode(raw)
            except DecodeError as error:
                dead.append(dead_letter(raw, redact_text(str(error)), timestamp))
                continue
            event = Event(
                raw.source, raw.event_id, raw.channel, data, timestamp, raw.instance_id, raw.size
            )
            try:
                if raw.channel == REPORTS and is_command(data):
                    changes = self._command(event, dead)
                    continue
                if not (found := self._rules(event)):
                    continue
                candidates.extend(self._candidates.of_event(event, found))
                seen = [one for one in found if isinstance(one, Observation)]
                observations.extend((len(candidates), one) for one in seen)
            except Exception as error:  # noqa: BLE001
                # A fault of ours on one event: it becomes visible, and the others go on.
                dead.append(_fault(event, error))
        return Judged(
            count,
            tuple(candidates),
            tuple(dead),
            tuple(observations),
            changes=changes,
            thresholds=self._version,
        )

    def track(self, judged: Judged, states: States) -> Judged:
        """Judges what is left to be seen together with what rules remember, in order.

        Args:
            judged: what `judge` came to.
            states: what is stored of each key that its observations name, where something is.

        Returns:
            The same with the alerts that came of it, what is over, and what is to be remembered.
        """
        known = {key: _decoded(stored) for key, stored in states.items()}
        after = dict(known)
        candidates: list[Candidate] = []
        taken = 0
        resolutions: list[Resolution] = []
        dead = list(judged.dead_letters)
        for before, observation in judged.observations:
            candidates.extend(judged.candidates[taken:before])
            taken = before
            key, event = observation.key, observation.event
            try:
                state, tracked = self._tracks[key[0]](after.get(key, _NEW), observation)
                candidates.extend(self._candidates.of_tracked(event, tracked))
                resolutions.extend(self._candidates.resolutions(key[0], event, tracked))
            except Exception as error:  # noqa: BLE001  (as above)
                dead.append(_fault(event, error))
                state = _NEW  # it may be what is remembered that cannot be judged with
            after[key] = state
        return replace(
            judged,
            candidates=(*candidates, *judged.candidates[taken:]),
            dead_letters=tuple(dead),
            observations=(),
            resolutions=tuple(resolutions),
            states=self._changed(states, known, after),
        )

    def missing(self, states: States, until: float) -> Judged:
        """Judges what did not come.

        Args:
            states: what rules remember of keys whose events have to come.
            until: everything up to then is judged (epoch seconds).
        """
        known = {key: _decoded(stored) for key, stored in states.items() if key[0] in self.awaiting}
        after: dict[StateKey, RuleState] = {}
        candidates: list[Candidate] = []
        for key, state in known.items():
            after[key], tracked = missing(self._specs[key[0]], state, until)
            candidates.extend(self._candidates.of_tracked(None, tracked))
        return Judged(0, tuple(candidates), states=self._changed(states, known, after))

    @property
    def awaiting(self) -> frozenset[str]:
        """The names of rules that tell of events that do not come."""
        return frozenset(name for name, spec in self._specs.items() if spec.absence is not None)

    @property
    def _decoded_bytes(self) -> int:
        return self._decoder.decoded_bytes + self._reports_decoder.decoded_bytes

    def _decode(self, raw: RawEvent) -> Payload:
        if raw.channel == REPORTS:
            # What is too large to be fetched is a report: no command is.
            return {} if raw.payload is None else self._reports_decoder.decode(raw.payload)
        if raw.payload is None:
            if raw.size:
                raise DecodeError(f"{raw.size} bytes: más de lo que se acepta sin descomprimir")
            raise DecodeError("sin datos")
        return self._decoder.decode(raw.payload)

    def _command(self, event: Event, dead: list[DeadLetter]) -> tuple[Change, ...]:
        try:
            return read_command(event, self._thresholds, self._config.threshold_fault)
        except CommandError as error:
            dead.append(dead_letter(event, f"orden rechazada: {error}", event.timestamp))
            return ()

    def _changed(self, states: States, before: _RuleStates, after: _RuleStates) -> States:
        """Returns what is to be stored: what is no longer as it was."""
        changed: dict[StateKey, StoredState] = {}
        for key, state in after.items():
            stored = states.get(key, _UNSTORED)
            until = deadline(self._specs[key[0]], state)
            if state != before.get(key, _NEW) or until != stored.deadline:
                text = msgspec.json.encode(state).decode()
                changed[key] = StoredState(text, stored.version, until)
        return changed


def _fault(event: Event, error: Exception) -> DeadLetter:
    log_fault(log, f"fallo al juzgar el evento {event.event_id} de {event.source}", error)
    reason = f"fallo interno al juzgarlo: {type(error).__name__}"
    return dead_letter(event, reason, event.timestamp)


def _decoded(stored: StoredState) -> RuleState:
    try:
        return msgspec.json.decode(stored.text, type=RuleState)
    except msgspec.DecodeError as error:  # of another version of ours: begin anew, and say so
        log.error("lo que recordaba una regla no se entiende, empieza de nuevo: %s", error)
        return _NEW


def event_time(timestamp: float | None, now: float) -> float:
    """Returns the event's own time, or `now` where that is absent or impossible (epoch seconds)."""
    if timestamp is None or not math.isfinite(timestamp):
        return now
    return timestamp if _EARLIEST <= timestamp <= now + _AHEAD else now


def dead_letter(event: RawEvent | Event, reason: str, timestamp: float) -> DeadLetter:
    """Returns the dead letter of an event; `timestamp` in epoch seconds, `reason` for a person."""
    return DeadLetter(
        source=event.source,
        event_id=event.event_id,
        channel=event.channel[:MAX_CHANNEL],
        reason=reason,
        timestamp=timestamp,
        instance_id=event.instance_id,
        size=event.size,
    )
