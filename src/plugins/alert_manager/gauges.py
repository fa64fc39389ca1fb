"""Gauges of what runs, made at the scrape from what is in memory: nobody is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .domain.breaker import STATES
from .domain.delivery import ChannelState
from .domain.model import Severity
from .domain.tally import OTHER
from .observer import Observer

_PREFIX = "alert_manager_"
_SEVERITIES = {int(severity): severity.key for severity in Severity}

Values = Iterable[tuple[Sequence[str], float]]
"""Label values and the number that belongs to them."""


class SourceState(NamedTuple):
    """How a source is read.

    Attributes:
        lag: seconds since all that was there was judged.
        leading: True where this instance reads it.
    """

    lag: float
    leading: bool


class RowsState(NamedTuple):
    """Where reading `eventos` stands: the highest id, and ranges of ids that are missing."""

    position: int
    holes: int
    retired: int


@dataclass(frozen=True, slots=True)
class Gauges(Collector):
    """Collects from functions that only look.

    Attributes:
        observer: has seen the parts and the queue.
        sources: how each source is read.
        rows: where reading `eventos` stands; None where another instance reads.
        tellers: how each notification channel is doing.
        spooled: messages that are told ahead of alert_db, by channel.
        away: whether alert_db stores nothing.
        cached: whether Redis is used as a cache.
    """

    observer: Observer
    sources: Callable[[], Mapping[str, SourceState]]
    rows: Callable[[], RowsState | None]
    tellers: Callable[[], Mapping[str, ChannelState]]
    spooled: Callable[[], Mapping[str, int]]
    away: Callable[[], bool]
    cached: Callable[[], bool]

    def collect(self) -> Iterable[Metric]:
        """Returns them all."""
        tellers = self.tellers()
        yield from self._of_parts()
        yield from self._of_sources()
        yield from self._of_rows()
        yield from _of_tellers(tellers)
        yield from self._of_queue(tellers)

    def _of_parts(self) -> Iterator[Metric]:
        parts = self.observer.parts or {}
        yield _gauge(
            "part_up",
            "1 where a part of /health works, as of the last seconds.",
            ["part"],
            (([name], part.ok) for name, part in parts.items()),
        )
        yield _gauge(
            "degraded", "1 while people are told without alert_db.", [], [([], self.away())]
        )
        yield _gauge(
            "cache_available", "1 where Redis is used as a cache.", [], [([], self.cached())]
        )

    def _of_sources(self) -> Iterator[Metric]:
        sources = self.sources()
        yield _gauge(
            "reader_lag_seconds",
            "Since all that was there to be read was judged; 0 where another instance reads.",
            ["source"],
            (([name], state.lag) for name, state in sources.items()),
        )
        yield _gauge(
            "reader_leading",
            "1 where this instance reads a source.",
            ["source"],
            (([name], state.leading) for name, state in sources.items()),
        )

    def _of_rows(self) -> Iterator[Metric]:
        rows = self.rows()
        for name, text, value in (
            ("reader_position", "Highest id of eventos that was judged.", rows and rows.position),
            (
                "reader_open_holes",
                "Ranges of ids of eventos that a writer may still fill.",
                rows and rows.holes,
            ),
            (
                "reader_retired_holes",
                "Ranges of ids of eventos that were given up, and are still looked at for a day.",
                rows and rows.retired,
            ),
        ):
            yield _gauge(name, text, [], [] if value is None else [([], value)])

    def _of_queue(self, known: Collection[str]) -> Iterator[Metric]:
        waiting: dict[tuple[str, str], tuple[int, float]] = {}
        depths = self.observer.depths
        if depths is not None:
            waiting = {(n, s): (0, 0.0) for n in known for s in _SEVERITIES.values()}
        for depth in depths or ():
            # Rows may name channels of a configuration of the past.
            name = depth.channel if depth.channel in known else OTHER
            key = (name, _SEVERITIES.get(depth.severity, OTHER))
            count, oldest = waiting.get(key, (0, 0.0))
            waiting[key] = (count + depth.waiting, max(oldest, depth.oldest))
        yield _gauge(
            "notifications_pending",
            "Messages in alert_db that wait to be told, of all instances.",
            ["channel", "severity"],
            ((key, count) for key, (count, _) in waiting.items()),
        )
        yield _gauge(
            "notifications_oldest_pending_seconds",
            "How long the oldest message has been waiting to be told.",
            ["channel", "severity"],
            ((key, oldest) for key, (_, oldest) in waiting.items()),
        )
        spooled = self.spooled()
        yield _gauge(
            "spool_pending",
            "Messages that wait to be told ahead of alert_db, by this instance.",
            ["channel"],
            (([name], spooled.get(name, 0)) for name in known),
        )


def _of_tellers(tellers: Mapping[str, ChannelState]) -> Iterator[Metric]:
    yield _gauge(
        "breaker_state",
        "1 for the state that a channel's circuit breaker is in.",
        ["channel", "state"],
        (
            ([name, state], teller.breaker == state)
            for name, teller in tellers.items()
            for state in STATES
        ),
    )
    yield _gauge(
        "channel_disabled",
        "1 where a channel's target is gone or shuts us out, until the file says otherwise.",
        ["channel"],
        (([name], teller.disabled is not None) for name, teller in tellers.items()),
    )
    yield _gauge(
        "channel_held",
        "1 while a channel's server wants no messages for more than half a minute.",
        ["channel"],
        (([name], teller.held) for name, teller in tellers.items()),
    )


def _gauge(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family
