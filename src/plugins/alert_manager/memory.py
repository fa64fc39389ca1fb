"""What is remembered between events: judged together with it, carried by alerts, stored anew."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from .candidates import Candidates
from .domain.context import given, merged
from .domain.model import Event, Facts, Learned, Observation, StateKey, States, StoredState
from .domain.outcome import Candidate, DeadLetter, Judged, Resolution
from .domain.rule_spec import RuleSpec
from .domain.tracking import RuleState, Track, Tracked, deadline, is_gap, missing
from .faults import log_fault
from .letters import dead_letter

log = logging.getLogger("corec.alert_manager.memory")

_NEW = RuleState()
_UNSTORED = StoredState("", 0)
_Remembered = TypeVar("_Remembered", RuleState, Facts)


class Memory:
    """Folds events into what is remembered, in order; belongs to one thread at a time."""

    def __init__(self, specs: Mapping[str, RuleSpec], candidates: Candidates) -> None:
        self._specs = specs
        self._candidates = candidates
        self._tracks: Mapping[str, Track] = {}

    def use(self, tracks: Mapping[str, Track]) -> None:
        """Goes on with rules that were compiled anew."""
        self._tracks = tracks

    @property
    def awaiting(self) -> frozenset[str]:
        """The names of rules that tell of events that do not come."""
        return frozenset(name for name, spec in self._specs.items() if spec.absence is not None)

    def track(self, judged: Judged, states: States, until: float) -> Judged:
        """Judges what is left to be seen together with what is remembered, in order.

        Args:
            judged: what a batch came to so far.
            states: what is stored of each of its `keys`, where something is.
            until: what did not come up to then, did not come by another source either.

        Returns:
            The same with the alerts that came of it, what is over, and what is to be remembered.
        """
        fold = _Fold(self._specs, self._tracks, self._candidates, states, until)
        taken = 0
        for before, seen in judged.observations:
            fold.carry(judged.candidates[taken:before])
            taken = before
            if isinstance(seen, Learned):
                fold.learn(seen)
            else:
                fold.observe(seen)
        fold.carry(judged.candidates[taken:])
        return replace(
            judged,
            candidates=tuple(fold.told),
            dead_letters=(*judged.dead_letters, *fold.dead),
            observations=(),
            keys=frozenset(),
            resolutions=tuple(fold.resolutions),
            states={**judged.states, **fold.changed()},
            unsure=fold.unsure,
        )

    def missing(self, states: States, until: float) -> Judged:
        """Judges what did not come.

        Args:
            states: what rules remember of keys whose events have to come.
            until: everything up to then is judged (epoch seconds).
        """
        known = {k: _decoded(stored) for k, stored in states.items() if k[0] in self.awaiting}
        after: dict[StateKey, RuleState] = {}
        candidates: list[Candidate] = []
        for key, state in known.items():
            after[key], tracked = missing(self._specs[key[0]], state, until)
            candidates.extend(self._candidates.of_tracked(None, tracked))
        return Judged(
            0,
            tuple(candidates),
            keys=frozenset(key for c in candidates for _, key in c.wanted),
            states=_changed(self._specs, states, known, after),
        )


class _Fold:
    """One batch on its way through what is remembered."""

    def __init__(
        self,
        specs: Mapping[str, RuleSpec],
        tracks: Mapping[str, Track],
        candidates: Candidates,
        states: States,
        until: float,
    ) -> None:
        self._specs = specs
        self._tracks = tracks
        self._candidates = candidates
        self._stored = states
        self._until = until
        self.unsure = False
        self._known = {k: _decoded(stored) for k, stored in states.items() if k[0] in tracks}
        self._after = dict(self._known)
        others = {k: _fact(stored) for k, stored in states.items() if k[0] not in tracks}
        self._facts = {key: fact for key, fact in others.items() if fact is not None}
        self._learned: dict[StateKey, Facts] = {}
        self.told: list[Candidate] = []
        self.resolutions: list[Resolution] = []
        self.dead: list[DeadLetter] = []

    def carry(self, candidates: Iterable[Candidate]) -> None:
        """Takes alerts to be, with what is known around them now."""
        for candidate in candidates:
            known = given(candidate.wanted, self._facts)
            if known:
                data = {**candidate.event_data, "context": known}
                candidate = msgspec.structs.replace(candidate, event_data=data)
            self.told.append(candidate)

    def learn(self, learned: Learned) -> None:
        """Takes what an event tells."""
        fact = merged(self._facts.get(learned.key), learned.facts)
        self._facts[learned.key] = self._learned[learned.key] = fact

    def observe(self, seen: Observation) -> None:
        """Takes an event that a rule judges together with what it remembers."""
        rule, event = seen.key[0], seen.event
        try:
            state, tracked = self._tracks[rule](self._after.get(seen.key, _NEW), seen)
            if tracked.match is None and tracked.ended is None:  # nearly always
                self._after[seen.key] = state
                return
            if is_gap(tracked) and (tracked.ended or 0.0) > self._until:
                tracked = Tracked()  # it may still come by another source
                self.unsure = True
            told = self._candidates.of_tracked(event, tracked)
            over = self._candidates.resolutions(rule, event, tracked)
        except Exception as error:  # noqa: BLE001
            # A fault of ours on one event: it becomes visible, and the others go on. It may be what
            # is remembered that cannot be judged with.
            self.dead.append(fault_letter(event, error))
            self._after[seen.key] = _NEW
            return
        self._after[seen.key] = state
        self.carry(told)
        self.resolutions.extend(over)

    def changed(self) -> dict[StateKey, StoredState]:
        """Returns what is to be stored."""
        changed = _changed(self._specs, self._stored, self._known, self._after)
        for key, fact in self._learned.items():
            stored = self._stored.get(key, _UNSTORED)
            changed[key] = StoredState(msgspec.json.encode(fact).decode(), stored.version)
        return changed


def fault_letter(event: Event, error: Exception) -> DeadLetter:
    """Logs a fault of ours, and returns the dead letter of the event that met it."""
    log_fault(log, f"fallo al juzgar el evento {event.event_id} de {event.source}", error)
    reason = f"fallo interno al juzgarlo: {type(error).__name__}"
    return dead_letter(event, reason, event.timestamp)


def _decoded(stored: StoredState) -> RuleState:
    return _read(stored, RuleState) or _NEW


def _fact(stored: StoredState) -> Facts | None:
    return _read(stored, Facts)


def _read(stored: StoredState, kind: type[_Remembered]) -> _Remembered | None:
    try:
        return msgspec.json.decode(stored.text, type=kind)
    except msgspec.DecodeError as error:  # of another version of ours: begin anew, and say so
        log.error("lo que recordaba una regla no se entiende, empieza de nuevo: %s", error)
        return None


def _changed(
    specs: Mapping[str, RuleSpec],
    stored: States,
    before: Mapping[StateKey, RuleState],
    after: Mapping[StateKey, RuleState],
) -> dict[StateKey, StoredState]:
    """Returns what is no longer as it was stored."""
    changed: dict[StateKey, StoredState] = {}
    for key, state in after.items():
        old = stored.get(key, _UNSTORED)
        until = deadline(specs[key[0]], state)
        if state != before.get(key, _NEW) or until != old.deadline:
            text = msgspec.json.encode(state).decode()
            changed[key] = StoredState(text, old.version, until)
    return changed
