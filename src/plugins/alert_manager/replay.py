"""What a configuration would have told of events that were: no I/O, nothing stored or sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .domain.dedupe import TWIN_WINDOW, Known, KnownAlert, decide
from .domain.model import RawEvent, StateKey, StoredState
from .domain.outcome import Candidate, Judged
from .domain.rule_spec import RuleSpec
from .domain.thresholds import StoredThresholds
from .domain.verdicts import Told
from .judge import BatchJudge

_DAY = 86400.0  # seconds


def warm_up(specs: Iterable[RuleSpec]) -> float:
    """Returns the seconds of events before a replay that tell rules what they have to remember.

    A day at the least: then most states that last, as the VIX's, were seen to begin.
    """
    spans = [_DAY]
    for spec in specs:
        within = None if spec.measure is None else spec.measure.within
        every = None if spec.absence is None else spec.absence.every
        spans += [2 * (within or 0.0), every or 0.0, spec.window]
    return max(spans)


class Replay:
    """Judges events as a running plugin does, with everything that it remembers in memory.

    Attributes:
        told: the alerts that people would have been told of, in order.
        repeats: how many more were counted on these.
        dead_letters: how many events could not be judged, by channel.
    """

    def __init__(self, judge: BatchJudge, thresholds: StoredThresholds, known: Known) -> None:
        """Begins with the thresholds and the alerts (`known`) that there were before."""
        self._judge = judge
        self._states: dict[StateKey, StoredState] = {}
        self._known: dict[bytes, list[KnownAlert]] = {
            fingerprint: list(alerts) for fingerprint, alerts in known.items()
        }
        self._thresholds = thresholds
        self.told: list[Told] = []
        self.repeats = 0
        self.dead_letters: Counter[str] = Counter()
        judge.use(thresholds)

    def feed(self, events: Sequence[RawEvent], now: float) -> None:
        """Judges the next events; `now` (epoch seconds) as of `BatchJudge.judge`."""
        while events:
            judged = self._judge.judge(events, now)
            known = {key: self._states[key] for key in judged.keys & self._states.keys()}
            self._take(self._judge.track(judged, known))
            events = events[judged.events :]

    def end(self, until: float) -> None:
        """Judges what did not come until a moment (epoch seconds)."""
        awaited = {
            key: state for key, state in self._states.items() if key[0] in self._judge.awaiting
        }
        self._take(self._judge.missing(awaited, until))

    def _take(self, judged: Judged) -> None:
        for key, stored in judged.states.items():
            self._states[key] = stored._replace(version=stored.version + 1)
        self.dead_letters.update(letter.channel for letter in judged.dead_letters)
        self._tell(judged.candidates)
        if judged.changes:
            self._thresholds = self._thresholds.changed_by(judged.changes)
            self._judge.use(self._thresholds)

    def _tell(self, candidates: Sequence[Candidate]) -> None:
        if not candidates:
            return
        fingerprints = {candidate.fingerprint for candidate in candidates}
        decision = decide(
            candidates, {f: self._known[f] for f in fingerprints & self._known.keys()}
        )
        self.repeats += len(candidates) - len(decision.news)
        for index in decision.news:
            news = candidates[index]
            reach = 2 * max(news.window, TWIN_WINDOW)
            near = [
                alert
                for alert in self._known.get(news.fingerprint, ())
                if abs(alert.first - news.timestamp) < reach
            ]
            alert = KnownAlert(len(self.told), news.timestamp)
            self._known[news.fingerprint] = [*near, alert]
            self.told.append(
                Told(
                    fingerprint=news.fingerprint,
                    rule=news.rule,
                    severity=news.severity,
                    timestamp=news.timestamp,
                    event_id=news.event_id,
                    title=news.words.say().title,
                )
            )
