"""Builds what tells how the parts are: `/health`, `/live` and the gauges of `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..degraded import Degraded
from ..domain.errors import DatabaseUnavailableError
from ..domain.holes import Position
from ..gauges import Gauges, RowsState, SourceState
from ..health import Health, Part, Question
from ..health_parts import delivery_parts, tasks_part
from ..metrics import Expected, Metrics
from ..observer import Observer
from ..own_alerts import OWN_RULES
from ..read_loop import ReadLoop
from ..self_watch import SelfWatch
from ..settings import Loaded
from ..utils.dedupe import DedupeCache
from ..utils.notify import Delivery
from ..utils.pg import PgSession
from ..utils.queue_depth import QueueDepth
from ..utils.spool import Spool
from .sessions import Sessions


class Observed(NamedTuple):
    """The parts that are observed."""

    sessions: Sessions
    loops: Mapping[str, ReadLoop]
    position: Callable[[], Position | None]
    degraded: Degraded
    delivery: Delivery
    watch: SelfWatch
    cache: DedupeCache
    spool: Spool


class Observation(NamedTuple):
    """What observes them; `expected` are the names that metrics may have."""

    health: Health
    observer: Observer
    gauges: Gauges
    expected: Expected

    def begin(self, metrics: Metrics) -> None:
        """Shows from now on what runs now, and begins to look at it."""
        metrics.expect(self.expected)
        metrics.show(self.gauges)
        self.observer.start()


def observe(parts: Observed, loaded: Loaded) -> Observation:
    """Builds what observes these parts; starts nothing yet."""
    machines = loaded.machines()

    def known() -> Mapping[str, Part]:
        return {
            **{name: loop.part() for name, loop in parts.loops.items()},
            **delivery_parts(
                parts.delivery.states(),
                machines,
                parts.delivery.ended(),
                parts.delivery.trouble,
            ),
            "vigilancia": tasks_part(_ended(parts, observer)),
        }

    health = Health(_questions(parts), known)
    observer = Observer(health, QueueDepth(parts.sessions.following).count)
    return Observation(health, observer, _gauges(parts, observer), _expected(parts, loaded))


def _questions(parts: Observed) -> dict[str, Question]:
    async def corec_db() -> str:
        await _probe(parts.sessions.asking_corec)
        return "ok"

    async def alert_db() -> str:
        await _probe(parts.sessions.asking_alert)
        if parts.degraded.away:
            raise DatabaseUnavailableError("responde, pero no guarda nada: lo urgente se avisa ya")
        return "ok"

    return {
        "corec_db": Question(corec_db),
        "alert_db": Question(alert_db),
        "redis": Question(parts.cache.ask, vital=False),
    }


async def _probe(session: PgSession) -> None:
    try:
        await session.probe()
    except DatabaseUnavailableError:
        # It may be the end of an old connection, to a server that is back since.
        await session.probe()


def _ended(parts: Observed, observer: Observer) -> list[str]:
    tasks = {
        "degraded": parts.degraded.ended,
        "self-watch": parts.watch.ended,
        "observer": observer.ended,
    }
    return [name for name, ended in tasks.items() if ended]


def _gauges(parts: Observed, observer: Observer) -> Gauges:
    def sources() -> Mapping[str, SourceState]:
        return {loop.source: SourceState(loop.lag, loop.leading) for loop in parts.loops.values()}

    def rows() -> RowsState | None:
        position = parts.position()
        if position is None:
            return None
        return RowsState(position.hi, len(position.holes), len(position.retired))

    return Gauges(
        observer,
        sources,
        rows,
        parts.delivery.states,
        lambda: parts.spool.waiting,
        lambda: parts.degraded.away,
        lambda: parts.cache.available,
    )


def _expected(parts: Observed, loaded: Loaded) -> Expected:
    specs = loaded.settings.alert_config.specs()
    return Expected(
        channels=loaded.settings.watched(),
        rules={**{spec.name: spec.severities for spec in specs}, **OWN_RULES},
        late=[spec.name for spec in specs if spec.absence is not None],
        tellers=list(parts.delivery.states()),
        sources=[loop.source for loop in parts.loops.values()],
    )
