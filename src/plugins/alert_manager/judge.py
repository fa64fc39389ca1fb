"""What a batch of events comes to: decode, classify, redact, fingerprint. No I/O, no clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from .domain.decode import DecodeError, Decoder
from .domain.dedupe import TWIN_WINDOW
from .domain.fingerprint import fingerprint
from .domain.model import (
    Candidate,
    DeadLetter,
    Event,
    Judged,
    Match,
    Observation,
    Payload,
    RawEvent,
    Resolution,
    StateKey,
    States,
    StoredState,
)
from .domain.paths import parse_path
from .domain.redact import redact, redact_text
from .domain.render import recovery, words
from .domain.rule_spec import RuleSpec
from .domain.rules import Found, compile_rules
from .domain.tracking import RuleState, Tracked, compile_tracks, deadline, missing
from .faults import log_fault
from .settings import Loaded

log = logging.getLogger("corec.alert_manager.judge")

OWN_SOURCE = "alert_manager"  # of alerts that no event brought
MAX_DECODED = 4 << 20  # bytes
_EARLIEST = 946_684_800.0  # 2000-01-01: an older event time is a broken clock, not an event
_AHEAD = 24 * 3600.0  # seconds that a writer's clock may be ahead
_NEW = RuleState()
_UNSTORED = StoredState("", 0)
_MAX_CHANNEL = 50  # characters; the width of `canal`
# A field that holds no number is one state of its writer, whatever else the events say.
_INVALID_IDENTITY = tuple(map(parse_path, ("plugin", "exchange", "symbol", "user_id")))


class BatchJudge:
    """Judges batches by one configuration; belongs to one thread at a time (its decoder does)."""

    def __init__(self, loaded: Loaded) -> None:
        alert_config = loaded.settings.alert_config
        self._decoder = Decoder(loaded.settings.config.limits.limits())
        specs = alert_config.specs()
        self._specs: Mapping[str, RuleSpec] = {spec.name: spec for spec in specs}
        self._rules = compile_rules(specs, alert_config.thresholds)
        self._tracks = compile_tracks(specs, alert_config.thresholds)
        self._zone = alert_config.timezone
        self._watched = frozenset(loaded.settings.channels)
        self._targets = loaded.targets()

    def judge(self, raw_events: Iterable[RawEvent], now: float) -> Judged:
        """Judges events in their order, as many as their decompressed size allows; at least one.

        `now` (seconds since the epoch) stands in for bad times. `events` of the answer says how
        many were taken: small rows may unpack to gigabytes, and a batch has to end in about 1 s.
        """
        candidates: list[Candidate] = []
        observations: list[tuple[int, Observation]] = []
        dead: list[DeadLetter] = []
        count = 0
        self._decoder.decoded_bytes = 0
        for raw in raw_events:
            if self._decoder.decoded_bytes > MAX_DECODED:
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
                if not (found := self._rules(event)):
                    continue
                candidates.extend(self._candidates(event, found))
                seen = [one for one in found if isinstance(one, Observation)]
                observations.extend((len(candidates), one) for one in seen)
            except Exception as error:  # noqa: BLE001
                # A fault of ours on one event: it becomes visible, and the others go on.
                dead.append(_fault(event, error))
        return Judged(count, tuple(candidates), tuple(dead), tuple(observations))

    def track(self, judged: Judged, states: States) -> Judged:
        """Judges what is left to be seen together with what rules remember, in order.

        Args:
            judged: what `judge` came to.
            states: what is stored of each key that its observations name, where something is.

        Returns:
            The same with the alerts that came of it, what is over, and what is to be remembered.
        """
        after = {key: _decoded(stored) for key, stored in states.items()}
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
                candidates.extend(self._told(event, tracked))
                if tracked.ended is not None:
                    resolutions.append(self._resolution(key[0], event, tracked, tracked.ended))
            except Exception as error:  # noqa: BLE001  (as above)
                dead.append(_fault(event, error))
                continue
            after[key] = state
        return replace(
            judged,
            candidates=(*candidates, *judged.candidates[taken:]),
            dead_letters=tuple(dead),
            observations=(),
            resolutions=tuple(resolutions),
            states=self._changed(states, after),
        )

    def missing(self, states: States, until: float) -> Judged:
        """Judges what did not come.

        Args:
            states: what rules remember of keys whose events have to come.
            until: everything up to then is judged (epoch seconds).
        """
        before = {key: stored for key, stored in states.items() if key[0] in self.awaiting}
        after: dict[StateKey, RuleState] = {}
        candidates: list[Candidate] = []
        for key, stored in before.items():
            after[key], tracked = missing(self._specs[key[0]], _decoded(stored), until)
            candidates.extend(self._told(None, tracked))
        return Judged(0, tuple(candidates), states=self._changed(before, after))

    @property
    def awaiting(self) -> frozenset[str]:
        """The names of rules that tell of events that do not come."""
        return frozenset(name for name, spec in self._specs.items() if spec.absence is not None)

    def _decode(self, raw: RawEvent) -> Payload:
        if raw.payload is None:
            if raw.size:
                raise DecodeError(f"{raw.size} bytes: más de lo que se acepta sin descomprimir")
            raise DecodeError("sin datos")
        return self._decoder.decode(raw.payload)

    def _candidates(self, event: Event, found: Iterable[Found]) -> list[Candidate]:
        matches = [one for one in found if isinstance(one, Match)]
        if not matches:
            return []
        safe = redact(event.data)
        return [self._candidate(event, safe, match) for match in matches]

    def _told(self, event: Event | None, tracked: Tracked) -> list[Candidate]:
        match = tracked.match
        if match is None:
            return []
        if tracked.about is not None and match.since is not None:
            channel = self._specs[match.rule].channels[0]
            event = Event(OWN_SOURCE, None, channel, tracked.about, match.since, None)
        return [] if event is None else self._candidates(event, [match])

    def _resolution(self, rule: str, event: Event, tracked: Tracked, since: float) -> Resolution:
        spec = self._specs[rule]
        safe = redact(event.data)
        about = safe if tracked.about is None else tracked.about
        match = Match(rule, spec.least_severity, tracked.value)
        return Resolution(
            fingerprints=tuple(
                fingerprint(spec.name, severity, about, spec.identity, since)
                for severity in spec.severities
            ),
            message=recovery(spec, match, event.channel, safe, event.timestamp, self._zone),
            timestamp=event.timestamp,
        )

    def _candidate(self, event: Event, safe: Payload, match: Match) -> Candidate:
        spec = self._specs[match.rule]
        title, message = words(spec, match, event.channel, safe, event.timestamp, self._zone)
        identity, name, window = spec.identity, spec.name, spec.window
        if match.invalid:
            identity, name = _INVALID_IDENTITY, f"{spec.name}: invalid"
        if match.since is not None:  # all of it is one alert, however long it lasts
            window = abs(event.timestamp - match.since) + TWIN_WINDOW
        return Candidate(
            source=event.source,
            event_id=event.event_id,
            channel=event.channel[:_MAX_CHANNEL],
            rule=spec.name,
            severity=match.severity,
            title=title,
            message=message,
            event_data=safe,
            timestamp=event.timestamp,
            instance_id=event.instance_id,
            fingerprint=fingerprint(name, match.severity, safe, identity, match.since),
            window=window,
            targets=self._targets[match.severity],
        )

    def _changed(self, before: States, after: Mapping[StateKey, RuleState]) -> States:
        """Returns what is to be stored."""
        changed: dict[StateKey, StoredState] = {}
        for key, state in after.items():
            stored = before.get(key, _UNSTORED)
            text = msgspec.json.encode(state).decode()
            until = deadline(self._specs[key[0]], state)
            if (text, until) != (stored.text, stored.deadline):
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
        channel=event.channel[:_MAX_CHANNEL],
        reason=reason,
        timestamp=timestamp,
        instance_id=event.instance_id,
        size=event.size,
    )
