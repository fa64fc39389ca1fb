"""Counters and gauges of one processor, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 120, 600, 3600)  # seconds

_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)  # seconds


class Metrics:
    """What `/metrics` shows. Label values come from the configuration, never from events."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = self._counter, self._gauge
        self.events = counter("events", "Events read from a source.", "source")
        self.alerts = counter("alerts", "Alerts stored.", "severity", "rule")
        self.repeats = counter("repeats", "Events counted on an alert that was already told.")
        self.dead_letters = counter("dead_letters", "Events that could not be judged.", "source")
        self.notifications = counter(
            "notifications", "Messages by what became of them.", "channel", "result"
        )
        self.holes = gauge("reader_open_holes", "Ranges of ids that a writer may still fill.")
        self.late_rows = counter(
            "reader_late_rows", "Rows that appeared in holes which were given up, and were judged."
        )
        self.position = gauge("reader_position", "Highest id of eventos that was judged.")
        self.leading = gauge("reader_leading", "1 where this instance reads a source.", "source")
        self.breaker_open = gauge("breaker_open", "1 while a channel's breaker is open.", "channel")
        self.event_to_alert = Histogram(
            "alert_manager_event_to_alert_seconds",
            "From the event's time to the commit of its alert.",
            buckets=_LATENCY,
            registry=self.registry,
        )

        self.loop_lag = Histogram(
            "alert_manager_event_loop_lag_seconds",
            "How late the host's event loop gets to what is due.",
            buckets=_LAG,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Returns the exposition in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"alert_manager_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"alert_manager_{name}", text, labels, registry=self.registry)
