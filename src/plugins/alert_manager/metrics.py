"""Counters and histograms of one processor, in a registry of its own; gauges: `gauges.py`.

Label values come from the configuration, never from events: what it does not name is `other`.
"""

from __future__ import annotations

import collections
import platform
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .domain.delivery import AHEAD, DIGEST, Message
from .domain.model import RawEvent, Severity
from .domain.outcome import Committed, Judged
from .domain.tally import IGNORED, OTHER, OUTCOMES, tally
from .letters import believable

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)  # seconds
_BATCH = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)  # seconds

RESULTS = ("sent", "retry", "throttled", "rejected", "disabled", "split", "expired")
PUSH = "push"
_NEWS = ("alert", AHEAD, DIGEST)  # kinds of messages that tell of an event as soon as they can


@dataclass(frozen=True, slots=True)
class Expected:
    """The names that a configuration has.

    Attributes:
        channels: of CoreC, that are watched.
        rules: with the severities that their alerts can have.
        late: rules whose alerts have the time at which an event began to be missed: no latency.
        tellers: notification channels.
        sources: that are read.
    """

    channels: Collection[str] = ()
    rules: Mapping[str, Collection[Severity]] = field(default_factory=dict)
    late: Collection[str] = ()
    tellers: Collection[str] = ()
    sources: Collection[str] = ()


class Metrics:
    """What `/metrics` shows."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._shown = _Shown()
        self._expected = Expected()
        counter = self._counter
        self._events = counter("events", "Events by what became of them.", "channel", "outcome")
        self._read = counter("source_events", "Events by the way that they came.", "source")
        self._alerts = counter("alerts", "Alerts stored.", "severity", "rule")
        self._duplicates = counter(
            "duplicates", "Repeats, counted on an alert that was already told.", "rule"
        )
        self._dead_letters = counter(
            "dead_letters", "Events that could not be judged, and are kept aside.", "source"
        )
        self._notifications = counter(
            "notifications", "Messages by what became of an attempt.", "channel", "result"
        )
        self.late_rows = counter(
            "reader_late_rows", "Rows that appeared in holes which were given up, and were judged."
        )
        self.deleted_rows = counter(
            "deleted_rows", "Rows of alert_db that were older than the retention.", "table"
        )
        self._event_to_alert = self._histogram(
            "event_to_alert", "From an event's own time to the commit of its alert.", _LATENCY
        )
        self._event_to_notification = self._histogram(
            "event_to_notification",
            "From an event's own time to a channel's acceptance of its message.",
            _LATENCY,
            "channel",
        )
        self._batches = self._histogram(
            "batch", "From fetching a batch of events to its last commit.", _BATCH, "source"
        )
        self.loop_lag = self._histogram(
            "event_loop_lag", "How late the host's event loop gets to what is due.", _LAG
        )
        self._reload_good = Gauge(
            "alert_manager_config_last_reload_successful",
            "1 where the file of the configuration is the one in use, 0 where it was refused.",
            registry=self.registry,
        )
        self._reload_time = Gauge(
            "alert_manager_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read.",
            registry=self.registry,
        )
        build = Info("alert_manager_build", "What runs.", registry=self.registry)
        build.info({"version": version, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)
        self.registry.register(self._shown)

    def expect(self, expected: Expected) -> None:
        """Hears which names there are; what may come is shown as 0 from now on."""
        self._expected = expected
        for channel in expected.channels:
            for outcome in OUTCOMES:
                if outcome != IGNORED:
                    self._events.labels(channel, outcome)
        self._events.labels(OTHER, IGNORED)
        for rule, severities in expected.rules.items():
            self._duplicates.labels(rule)
            for severity in severities:
                self._alerts.labels(severity.key, rule)
        for teller in expected.tellers:
            self._event_to_notification.labels(teller)
            for result in RESULTS:
                self._notifications.labels(teller, result)
        self._notifications.labels(OTHER, "expired")
        for source in expected.sources:
            self._batches.labels(source)
        for source in (*expected.sources, PUSH):
            self._read.labels(source)
            self._dead_letters.labels(source)

    def show(self, gauges: Collector) -> None:
        """Shows these gauges from now on, in the place of others."""
        self._shown.gauges = gauges

    def configured(self, good: bool) -> None:
        """Hears that a configuration is in use, or was refused."""
        self._reload_good.set(int(good))
        if good:
            self._reload_time.set_to_current_time()

    def read(self, source: str, count: int) -> None:
        """Counts events of a source that were judged and committed."""
        self._read.labels(source).inc(count)

    def batch(self, source: str, seconds: float) -> None:
        """Counts a batch by the time that it took."""
        self._batches.labels(source).observe(seconds)

    def committed(self, events: Sequence[RawEvent], judged: Judged, committed: Committed) -> None:
        """Counts what a batch came to."""
        now = time.time()
        watched = self._expected.channels
        for labels, count in tally(events, judged, committed, watched).items():
            self._events.labels(*labels).inc(count)
        alerts: collections.Counter[tuple[str, str]] = collections.Counter()
        repeats: collections.Counter[str] = collections.Counter()
        for index, candidate in enumerate(judged.candidates):
            if index not in committed.alerts:
                repeats[candidate.rule] += 1
                continue
            alerts[candidate.severity.key, candidate.rule] += 1
            if candidate.event_id is not None:
                self._event_to_alert.observe(max(0.0, now - candidate.timestamp))
        for (severity, rule), count in alerts.items():
            self._alerts.labels(severity, self._rule(rule)).inc(count)
        for rule, count in repeats.items():
            self._duplicates.labels(self._rule(rule)).inc(count)
        for letter in judged.dead_letters:
            self._dead_letters.labels(_source(letter.source)).inc()

    def notified(self, channel: str, result: str, count: int) -> None:
        """Counts messages by what became of an attempt, one of `RESULTS`."""
        self._notifications.labels(channel, result).inc(count)

    def told(self, channel: str, messages: Iterable[Message]) -> None:
        """Measures how long it took until a channel had messages; of a digest, its newest alert."""
        now = time.time()
        for message in messages:
            if (
                message.recovered
                or message.kind not in _NEWS
                or message.rule in self._expected.late
            ):
                continue
            if believable(message.timestamp, now):
                took = max(0.0, now - message.timestamp)
                self._event_to_notification.labels(channel).observe(took)

    def text(self) -> bytes:
        """Returns the exposition in Prometheus' text format; asks nobody."""
        return generate_latest(_Plain(self.registry))

    def _rule(self, name: str) -> str:
        return name if name in self._expected.rules or not self._expected.rules else OTHER

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"alert_manager_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(
            f"alert_manager_{name}_seconds", text, labels, buckets=buckets, registry=self.registry
        )


class _Shown(Collector):
    """Gauges of what runs now."""

    def __init__(self) -> None:
        self.gauges: Collector | None = None

    def collect(self) -> Iterable[Metric]:
        """Returns them."""
        return () if self.gauges is None else self.gauges.collect()


class _Plain(Collector):
    """A registry without the time at which each series began: it doubles them, and nobody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Returns all of it."""
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


def _source(name: str) -> str:
    """Returns the source that an event of this name was read from: streams are one."""
    return "streams" if name.startswith("stream:") else name
