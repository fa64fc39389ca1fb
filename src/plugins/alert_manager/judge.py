"""What a batch of events comes to: decode, classify, follow commands. No I/O, no clock."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import msgspec

from .candidates import Candidates
from .domain.context import Context
from .domain.decode import DecodeError, Decoder
from .domain.explain import Explained, explain
from .domain.glance import compile_glances
from .domain.model import Event, Learned, Match, Observation, Payload, RawEvent, StateKey, States
from .domain.outcome import Candidate, Change, DeadLetter, Judged
from .domain.redact import redact_text
from .domain.rule_spec import RuleSpec
from .domain.rules import compile_rules
from .domain.thresholds import CommandError, StoredThresholds, fitting, is_command, read_command
from .domain.tracking import compile_tracks
from .letters import dead_letter, event_time
from .memory import Memory, fault_letter
from .settings import REPORTS, Loaded

log = logging.getLogger("corec.alert_manager.judge")

MAX_DECODED = 4 << 20  # bytes
REFUSED = "orden rechazada: "  # begins the reason of a command that was not followed


class _Found:
    """What was found in a batch so far, in the order of its events."""

    __slots__ = ("_seen", "candidates", "dead", "keys", "observations")

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.observations: list[tuple[int, Observation | Learned]] = []
        self.keys: set[StateKey] = set()
        self.dead: list[DeadLetter] = []
        self._seen: set[bytes] = set()

    def worded(self, candidate: Candidate) -> Candidate:
        """Words what may be news, and leaves what repeats another one to who needs its words.

        Here, and not when it is stored: meanwhile alert_db stores the batch before.
        """
        if candidate.fingerprint in self._seen:
            return candidate
        self._seen.add(candidate.fingerprint)
        return msgspec.structs.replace(candidate, words=candidate.words.say())


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
        self._context = Context(self._config.contexts())
        self._candidates = Candidates(self._specs, self._context, loaded)
        self._memory = Memory(self._specs, self._candidates)
        self._watched = frozenset(settings.watched())
        self.use(StoredThresholds())

    def use(self, stored: StoredThresholds) -> None:
        """Goes on with the thresholds that commands have set."""
        self._version = stored.version
        self._thresholds, given_up = fitting(
            self._config.bounds(), stored, self._config.threshold_fault
        )
        for name, fault in given_up.items():
            log.error("el umbral %s vuelve al del archivo: %s", name, fault)
        values = {name: threshold.value for name, threshold in self._thresholds.items()}
        specs = self._specs.values()
        self._rules = compile_rules(specs, values)
        self._glances = compile_glances(specs, values, but=(REPORTS, *self._context.channels))
        self._memory.use(compile_tracks(specs, values))

    def judge(self, raw_events: Iterable[RawEvent], now: float) -> Judged:
        """Judges events in their order, as many as can be judged alike; at least one.

        `now` (seconds since the epoch) stands in for bad times. `events` of the answer says how
        many were taken: small rows may unpack to gigabytes, and a batch has to end in about 1 s;
        what comes after a changed threshold is judged by that.
        """
        found = _Found()
        changes: tuple[Change, ...] = ()
        count = 0
        decoder, reports = self._decoder, self._reports_decoder
        decoder.decoded_bytes = reports.decoded_bytes = 0
        for raw in raw_events:
            if changes or decoder.decoded_bytes + reports.decoded_bytes > MAX_DECODED:
                break
            count += 1
            if raw.channel not in self._watched:
                continue
            try:
                data = self._decode_unless_nothing(raw)
            except DecodeError as error:
                when = event_time(raw.timestamp, now)
                found.dead.append(dead_letter(raw, redact_text(str(error)), when))
                continue
            if data is None:  # nearly always; its time is nobody's business
                continue
            timestamp = event_time(raw.timestamp, now)
            event = Event(
                raw.source, raw.event_id, raw.channel, data, timestamp, raw.instance_id, raw.size
            )
            try:
                if raw.channel == REPORTS and is_command(data):
                    changes = self._command(event, found.dead)
                else:
                    self._look_at(event, found)
            except Exception as error:  # noqa: BLE001
                # A fault of ours on one event: it becomes visible, and the others go on.
                found.dead.append(fault_letter(event, error))
        return Judged(
            count,
            tuple(found.candidates),
            tuple(found.dead),
            tuple(found.observations),
            frozenset(found.keys),
            changes=changes,
            thresholds=self._version,
        )

    def _look_at(self, event: Event, found: _Found) -> None:
        """Adds what rules find in an event, and what it tells."""
        by_rules, learned = self._rules(event), self._context.learned(event)
        if not by_rules and not learned:  # nearly always
            return
        made = self._candidates.of_event(event, by_rules)
        found.candidates += [found.worded(candidate) for candidate in made]
        for one in (*learned, *by_rules):
            if not isinstance(one, Match):
                found.observations.append((len(found.candidates), one))
                found.keys.add(one.key)
        if by_rules:
            wanted = made[0].wanted if made else self._context.wanted(event.channel, event.data)
            found.keys.update([key for _, key in wanted])

    def track(self, judged: Judged, states: States, until: float = float("inf")) -> Judged:
        """Judges what is left to be seen together with what is remembered of its `keys`.

        `until`: what did not come up to then did not come by another source either.
        """
        return self._memory.track(judged, states, until)

    def missing(self, states: States, until: float) -> Judged:
        """Judges what did not come until a moment (epoch seconds), of these states."""
        return self._memory.missing(states, until)

    def explain(self, raw: RawEvent, now: float) -> list[Explained]:
        """Returns what each rule makes of an event, in words.

        Raises:
            DecodeError: it cannot be read.
        """
        timestamp = event_time(raw.timestamp, now)
        data = self._decode(raw)
        event = Event(raw.source, raw.event_id, raw.channel, data, timestamp, raw.instance_id)
        values = {name: threshold.value for name, threshold in self._thresholds.items()}
        return explain(self._specs.values(), values, event)

    @property
    def remembering(self) -> frozenset[str]:
        """The names under which something is remembered: rules, and what alerts carry."""
        rules = (spec.name for spec in self._specs.values() if spec.remembers)
        return frozenset((*rules, *self._context.names))

    @property
    def awaiting(self) -> frozenset[str]:
        """The names of rules that tell of events that do not come."""
        return self._memory.awaiting

    def _decode_unless_nothing(self, raw: RawEvent) -> Payload | None:
        """Returns an event's payload; None where a glance at it says that it comes to nothing."""
        glance = self._glances.get(raw.channel)
        if glance is None or raw.payload is None:
            return self._decode(raw)
        return self._decoder.decode_unless(raw.payload, glance)

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
            dead.append(dead_letter(event, f"{REFUSED}{error}", event.timestamp))
            return ()
