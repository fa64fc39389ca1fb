"""Builds everything that a running processor is made of, from checked settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..health import Health
from ..judge import BatchJudge
from ..loop_lag import LoopLag
from ..metrics import Metrics
from ..old_events import OldEvents
from ..own_alerts import OwnAlerts
from ..pipeline import Pipeline
from ..read_loop import ReadLoop
from ..recorder import Recorder
from ..settings import Loaded
from ..utils.channels.base import Channel
from ..utils.channels.registry import build
from ..utils.channels.report import EventosReport, StreamReport
from ..utils.db import AlertStore
from ..utils.dedupe import DedupeCache
from ..utils.eventos import EventosReader
from ..utils.notify import Delivery
from ..utils.outbox import Outbox
from ..utils.pg import PgSession
from ..utils.streams import StreamsReader
from ..web.server import Address, WebServer

LEAD_IDLE_LIMIT = 30.0  # seconds; a leader says something every 5 s


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts, not yet started."""

    instance: str
    sessions: tuple[PgSession, ...]
    reader: EventosReader
    store: AlertStore
    recorder: Recorder
    cache: DedupeCache
    eventos: ReadLoop
    loops: tuple[ReadLoop, ...]
    delivery: Delivery
    lag: LoopLag
    health: Health
    web: WebServer


def assemble(
    loaded: Loaded,
    redis: Any,
    db_config: Mapping[str, Any],
    instance: str,
    address: Address,
    home: Path,
    schema: Path,
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
    """
    settings = loaded.settings
    alert_db = settings.database()
    reading = PgSession("lectura", db_config, autocommit=True)
    # A process that is frozen while it leads must not keep everybody else from it.
    idle_limit = max(LEAD_IDLE_LIMIT, 4 * settings.config.reader.tick)
    storing = PgSession("almacen", alert_db, idle_limit=idle_limit)
    telling = PgSession("avisos", alert_db)
    reporting = PgSession("reportes", db_config)
    # Health asks on connections of its own: a part that works hard is not a part that is down.
    asking_corec = PgSession("salud", db_config)
    asking_alert = PgSession("salud", alert_db)
    metrics = Metrics()
    reader = EventosReader(
        reading,
        settings.channels,
        settings.config.limits.max_bytes,
        settings.config.reader,
        metrics,
    )
    store = AlertStore(storing, instance, schema)
    cache = DedupeCache(redis, settings.alert_config.dedupe.redis_timeout)
    channels: dict[str, Channel] = {
        "alert_data": EventosReport(reporting, instance),
        "alert_data_stream": StreamReport(redis, instance),
        **_configured_channels(loaded),
    }
    delivery = Delivery(
        Outbox(telling),
        channels,
        settings.config.circuit_breaker,
        settings.config.delivery,
        metrics,
    )
    own_alerts = OwnAlerts(loaded.targets(), instance, settings.alert_config.timezone)
    old_events = OldEvents(settings.config.reader.max_event_age, loaded.machines())
    recorder = Recorder(BatchJudge(loaded), store, cache, metrics, delivery.wake)
    pipeline = Pipeline(reader, store, recorder, own_alerts, old_events, metrics)
    eventos = ReadLoop(pipeline, recorder, own_alerts, settings.config.reader.tick)
    loops = {"lector": eventos}
    if redis is not None and (names := settings.streams()):
        start = settings.config.reader.start()
        batch = settings.config.streams.batch_size
        limit = settings.config.limits.max_bytes
        streams = StreamsReader(redis, names, instance, batch, limit, start)
        second = Pipeline(streams, store, recorder, own_alerts, old_events, metrics)
        loops["streams"] = ReadLoop(
            second, recorder, own_alerts, settings.config.reader.tick, optional=True
        )
    health = Health(
        {"corec_db": asking_corec.probe, "alert_db": asking_alert.probe},
        {name: loop.part for name, loop in loops.items()},
        lambda: cache.available,
        delivery.states,
    )
    return Assembly(
        instance=instance,
        sessions=(reading, storing, telling, reporting, asking_corec, asking_alert),
        reader=reader,
        store=store,
        recorder=recorder,
        cache=cache,
        eventos=eventos,
        loops=tuple(loops.values()),
        delivery=delivery,
        lag=LoopLag(metrics),
        health=health,
        web=WebServer(address, health, metrics, home),
    )


def _configured_channels(loaded: Loaded) -> dict[str, Channel]:
    settings = loaded.settings
    zone = settings.alert_config.timezone
    return {
        name: build(name, settings.notification_config.get(name, {}), loaded.channels[name], zone)
        for name in settings.notification_channels
        if name in loaded.channels
    }
