"""Builds everything that a running processor is made of, from checked settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..absences import Absences
from ..degraded import Degraded
from ..domain.model import P
from ..domain.troubles import LASTING
from ..foresight import Foresight
from ..judge import BatchJudge
from ..look_ahead import LookAhead
from ..loop_lag import LoopLag
from ..metrics import Metrics
from ..old_events import OldEvents
from ..own_alerts import OwnAlerts
from ..pipeline import Pipeline
from ..ports import Reader
from ..read_loop import ReadLoop
from ..recorder import Recorder
from ..retention import Retention
from ..retention_settings import forgettable
from ..self_watch import SelfWatch
from ..settings import Loaded, Settings
from ..silencer import Silencer
from ..untold import Untold
from ..utils.alert_db_watch import AlertDbWatch
from ..utils.channels.registry import STREAM_REPORT
from ..utils.db import AlertStore
from ..utils.dedupe import DedupeCache
from ..utils.eventos import EventosReader
from ..utils.hand_in import HandIn
from ..utils.notify import Delivery
from ..utils.old_rows import OldRows
from ..utils.pg import PgSession
from ..utils.spool import Spool
from ..utils.spool_file import SpoolFile
from ..utils.streams import StreamsReader
from ..web.server import Address, WebServer
from .observation import Observation, Observed, observe
from .sending import Sending, build_delivery
from .sessions import Sessions

log = logging.getLogger("corec.alert_manager")


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts, not yet started."""

    instance: str
    own_alerts: OwnAlerts
    sessions: tuple[PgSession, ...]
    readers: tuple[EventosReader, ...]
    degraded: Degraded
    spool: SpoolFile
    store: AlertStore
    recorder: Recorder
    cache: DedupeCache
    eventos: ReadLoop
    loops: tuple[ReadLoop, ...]
    delivery: Delivery
    watch: SelfWatch
    retention: Retention
    lag: LoopLag
    metrics: Metrics
    observation: Observation
    web: WebServer

    async def start(self, wait: float) -> None:
        """Starts to read and to deliver; waits `wait` seconds for databases that do not answer."""
        # Where reading begins is settled before the host goes on: what comes later is then read.
        await asyncio.gather(*(loop.settle(wait) for loop in self.loops))
        self.delivery.start()
        self.watch.start(self.degraded.tell)
        await self.degraded.start()
        self.lag.start()
        self.observation.begin(self.metrics)
        self.retention.start()
        for loop in self.loops:
            loop.start()
        try:
            await self.web.start()
        except OSError as error:
            # Alerts matter more than the page that tells how they are.
            log.error("no se puede escuchar por HTTP: %s", error)

    async def stop(self) -> None:
        """Stops reading, finishes what is in hand, closes everything."""
        await asyncio.gather(self.degraded.stop(), *(loop.stop() for loop in self.loops))
        parts = (self.delivery, self.retention, self.web, self.lag)
        await asyncio.gather(*(part.stop() for part in parts))
        await asyncio.gather(self.watch.stop(), self.observation.observer.stop())
        await asyncio.gather(*(session.close() for session in self.sessions))
        await self.cache.close()
        await self.spool.close()
        self.recorder.close()
        for reader in self.readers:
            reader.close()


def assemble(
    loaded: Loaded,
    redis: Any,
    db_config: Mapping[str, Any],
    instance: str,
    address: Address,
    home: Path,
    schema: Path,
    metrics: Metrics,
) -> Assembly:
    """Builds the parts; connects to nothing yet.

    Args:
        loaded: checked settings.
        redis: a `redis.asyncio` client, or None.
        db_config: libpq keywords of corec_db.
        instance: the CoreC instance's id.
        address: where health and metrics listen.
        home: the folder of the project's state, for `http.port`.
        schema: the SQL that makes alert_db's tables.
        metrics: what is counted, over all that runs one after the other.
    """
    if redis is None:  # nobody would ever take its reports
        loaded = loaded.without(STREAM_REPORT)
    settings = loaded.settings
    sessions = Sessions.of(db_config, settings)
    own_alerts = OwnAlerts(
        loaded.router(),
        instance,
        settings.alert_config.formats(),
        loaded.machines(),
        loaded.fallbacks(),
    )
    watch = SelfWatch(own_alerts)
    untold = Untold(loaded.machines())
    spool = Spool(SpoolFile(home / "spool" / f"{instance}.sqlite3"), untold)
    hand_in = HandIn(spool, sessions.telling)
    sending = Sending(sessions.telling, sessions.following, sessions.reporting)
    loops: dict[str, ReadLoop] = {}

    def in_flood() -> bool:
        return any(loop.in_flood for loop in loops.values())

    delivery = build_delivery(
        loaded, redis, instance, sending, metrics, watch, spool, hand_in, in_flood
    )
    store = AlertStore(sessions.storing, instance, schema)
    cache = DedupeCache(redis, settings.alert_config.dedupe.redis_timeout)
    silencer = Silencer(store, loaded.machines())
    recorder = Recorder(
        BatchJudge(loaded),
        store,
        cache,
        metrics,
        silencer,
        delivery.wake,
        hand_in.report,
        untold,
    )
    limit, reading = settings.config.limits.max_bytes, settings.config.reader
    old_events = OldEvents(reading.max_event_age, loaded.machines())
    foresight = Foresight(recorder, silencer, cache, reading.max_event_age)
    aheads: list[LookAhead[Any]] = []
    degraded = Degraded(
        AlertDbWatch(sessions.storing, sessions.watching, sessions.telling, sessions.following),
        recorder,
        spool,
        foresight,
        untold,
        aheads,
        own_alerts,
        delivery.wake,
        hand_in.report,
    )

    positions: dict[str, Callable[[], Any]] = {}

    def read_loop(
        readers: tuple[Reader[P], Reader[P]],
        optional: bool = False,
        absences: Absences | None = None,
    ) -> ReadLoop:
        source, ahead = readers
        pipeline = Pipeline(source, store, recorder, own_alerts, old_events, metrics, absences)
        positions[source.source] = lambda: pipeline.position
        aheads.append(LookAhead(ahead, pipeline, foresight, spool))
        return ReadLoop(pipeline, degraded, own_alerts, reading.tick, optional)

    watched, from_now = settings.watched(), reading.model_copy(update={"start_from": "now"})
    eventos = (
        EventosReader(sessions.reading, watched, limit, reading, metrics),
        EventosReader(sessions.looking_ahead, watched, limit, from_now, metrics),
    )
    loops["lector"] = read_loop(eventos, absences=Absences(recorder, store))
    if redis is not None and (names := settings.streams()):
        size = settings.config.streams.batch_size
        streams = (
            StreamsReader(redis, names, instance, size, limit, reading.start()),
            StreamsReader(redis, names, f"{instance}-ahead", size, limit, from_now.start()),
        )
        loops["streams"] = read_loop(streams, optional=True)
    position = positions[EventosReader.source]
    observed = Observed(sessions, loops, position, degraded, delivery, watch, cache, spool)
    observation = observe(observed, loaded)
    return Assembly(
        instance=instance,
        own_alerts=own_alerts,
        sessions=tuple(sessions),
        readers=eventos,
        degraded=degraded,
        spool=spool.file,
        store=store,
        recorder=recorder,
        cache=cache,
        eventos=loops["lector"],
        loops=tuple(loops.values()),
        delivery=delivery,
        watch=watch,
        retention=_retention(settings, sessions.sweeping, metrics),
        lag=LoopLag(metrics),
        metrics=metrics,
        observation=observation,
        web=WebServer(address, observation.health, metrics, home),
    )


def _retention(settings: Settings, session: PgSession, metrics: Metrics) -> Retention:
    seconds = settings.config.retention
    if seconds is None:
        return Retention(None, metrics)
    rules = forgettable(settings.alert_config.specs())
    return Retention(OldRows(session, seconds, rules, LASTING), metrics)
