"""The plugin as CoreC sees it: its life cycle, its ticks, its events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import backoff

from src.core.event import Event
from src.core.processors.base import ProcesadorBase
from src.plugins.plugin_manager import PluginBase

from ..config_file import ConfigError, read_yaml
from ..config_watch import ConfigWatch
from ..database_settings import COREC_DSN_ENV, from_environment
from ..domain.errors import DatabaseUnavailableError, DatabaseUnusableError, NotNowError
from ..domain.model import RawEvent
from ..domain.outcome import Summary
from ..domain.redact import redact_text
from ..faults import log_fault
from ..health import Report
from ..home import PLUGIN, ROOT, home, shipped
from ..metrics import Metrics
from ..running import Running
from ..settings import Loaded, check, load, source_path
from ..web.server import Address
from .assembly import Assembly, assemble
from .sessions import check_database

log = logging.getLogger("corec.alert_manager")

MANIFEST = PLUGIN / "plugin.json"
_START_WAIT = 10.0  # seconds that a start waits for the databases before it goes on without
_RELOAD_WAIT = 1.0
_PUSH_TRY = 5.0  # seconds that alert_db has for it before it is kept in a file
_PUSH_WAIT = 20.0  # seconds that an event in hand waits for alert_db


class AlertProcessor(ProcesadorBase, PluginBase):
    """Reads every event, remembers each alert once, and tells people.

    Args:
        config: the content of alert_manager.yaml, or the plugin.json that names it; the
            environment's ALERT_MANAGER_CONFIG goes before both.
        redis_client: a `redis.asyncio` client, or None; only speed depends on it.
        db_config: libpq keywords of corec_db; the environment's ALERT_COREC_DB_DSN goes before
            them, so that the plugin can work there by a role that may less than the host's.

    Raises:
        ConfigError: (a ValueError) with every fault of the configuration.
    """

    lee_eventos = True

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        redis_client: Any = None,
        db_config: Mapping[str, Any] | None = None,
    ) -> None:
        # Before it is read: what changes from now on is read once more.
        path = source_path(config or {}, ROOT)
        self._watch = None if path is None else ConfigWatch(path)
        self._loaded: Loaded = load(config or {}, ROOT)
        self._redis = redis_client
        own_way = from_environment(os.environ, COREC_DSN_ENV)
        self._db_config = dict(db_config or {}) if own_way is None else own_way
        self._running: Running[Assembly] = Running()
        self._metrics = Metrics(_version())
        self._metrics.configured(good=True)
        self._watching: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._listening = contextlib.ExitStack()
        self._pushed = Summary()

    async def inicializar(self, nucleus: Any) -> None:
        """Connects, starts to read and to deliver.

        A database that is down delays this by 10 s at the most; reading starts when it is back.

        Raises:
            ValueError: the environment's COREC_HTTP_… cannot be used.
        """
        address = Address.from_environment(os.environ)
        parts = self._assemble(self._loaded, str(nucleus.instance_id), address)
        self._running.set(parts)
        if self._watch is not None:  # from now on a SIGHUP ends nothing
            self._listening.enter_context(self._watch.listening())
        await parts.start(_START_WAIT)
        if self._watch is not None:
            task = self._reload_whenever_changed(self._watch)
            self._watching = asyncio.create_task(task, name="config-watch")

    def _assemble(self, loaded: Loaded, instance: str, address: Address) -> Assembly:
        folder, schema = home(os.environ), shipped("schema.sql")
        return assemble(
            loaded, self._redis, self._db_config, instance, address, folder, schema, self._metrics
        )

    async def _reload_whenever_changed(self, watch: ConfigWatch) -> None:
        while True:
            await watch.changed()
            try:
                await self._reload(watch.path)
            except Exception as error:  # noqa: BLE001  (no fault of ours may end the watching)
                log_fault(log, "no se pudo cargar de nuevo la configuración", error)

    async def _reload(self, path: Path) -> None:
        """Goes on with what the file says now; with what ran, where that cannot be used."""
        try:
            loaded = await asyncio.to_thread(lambda: check(read_yaml(path)))
            if loaded.settings.database() != self._loaded.settings.database():
                await check_database(loaded.settings)
        except Exception as error:  # noqa: BLE001  (whatever it is, the file is what was changed)
            self._refuse(error)
            return
        failures: list[Exception] = []

        async def change(parts: Assembly) -> Assembly:
            address = Address.from_environment(os.environ)
            if parts.web.port is not None:  # people and scripts know it
                address = replace(address, port=parts.web.port)
            try:
                new = self._assemble(loaded, parts.instance, address)
            except Exception as error:  # noqa: BLE001  (nothing is stopped yet)
                failures.append(error)
                return parts
            try:
                await parts.stop()
            except Exception as error:  # noqa: BLE001  (or nothing would read any more)
                log_fault(log, "fallo inesperado al parar lo que corría", error)
            try:
                await new.start(_RELOAD_WAIT)
            except Exception as error:  # noqa: BLE001  (what ran goes on)
                failures.append(error)
                await new.stop()
                new = self._assemble(self._loaded, parts.instance, address)
                await new.start(_RELOAD_WAIT)
            return new

        await self._running.replace(change)
        if failures:
            self._refuse(failures[0])
            return
        self._loaded = loaded
        self._metrics.configured(good=True)
        rules = len(loaded.settings.alert_config.rules)
        log.info("configuración cargada de nuevo: %d reglas", rules)

    def _refuse(self, error: Exception) -> None:
        """Says what is wrong with the file, to people too, as soon as that can be stored."""
        self._metrics.configured(good=False)
        if isinstance(error, ConfigError):
            reason = str(error)
            log.error("la configuración nueva se rechaza, sigue la anterior: %s", reason)
        else:
            reason = f"no se puede usar ({type(error).__name__}); el registro dice más"
            log_fault(log, "la configuración nueva no se puede usar, sigue la anterior", error)
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.create_task(self._tell_refused(reason), name="config-refused")

    @backoff.on_exception(backoff.expo, NotNowError, max_value=30, logger=None)
    async def _tell_refused(self, reason: str) -> None:
        async with self._running.use() as parts:
            alarm = parts.own_alerts.config_rejected(reason, time.time())
            await parts.degraded.tell(alarm)

    async def procesar(self, datos: Any, contexto: Mapping[str, Any]) -> dict[str, Any]:
        """Judges all that is new; called by the entity and its mirror, also at the same time.

        Returns:
            Counts since the last call. Reports go out through delivery: nothing to publish here.
        """
        async with self._running.use() as parts:
            try:
                await parts.eventos.drain()
            except NotNowError as error:
                return {"estado": "error", "mensaje": str(error), "publicar": False}
            summary, self._pushed = self._pushed, Summary()
            for loop in parts.loops:
                summary += loop.take_summary()
        return {"estado": "ok", **asdict(summary), "publicar": False}

    async def manejar_evento(self, event: Event) -> None:
        """Judges one event that the host hands over, decoded or as `{"data": bytes}`.

        While alert_db is away it is kept in a file, and stored later; what is urgent is told.

        Raises:
            NotNowError: it could neither be stored nor kept within 20 s.
        """
        async with self._running.use() as parts:
            raw = RawEvent(
                source="push",
                # Its own identity: a try that was cut off may have stored it.
                event_id=uuid.uuid4().int >> 66,
                channel=event.canal,
                payload=event.datos,
                timestamp=time.time(),
                instance_id=parts.instance,
                size=_size(event.datos),
            )
            try:
                summary = await _push(parts, raw)
            except BaseException as error:
                reason = str(error) if isinstance(error, NotNowError) else type(error).__name__
                log.critical("evento de %s sin guardar: %s", event.canal, redact_text(reason))
                raise
        self._pushed += summary  # read anew: others were counted meanwhile

    @property
    def puerto(self) -> int | None:
        """The port of `/health` and `/metrics`; None where it could not be had."""
        return self._running.get().web.port

    async def salud(self) -> Report:
        """Returns the state of each part, as `/health` shows it."""
        return await self._running.get().observation.health.report()

    async def detener(self) -> None:
        """Stops reading, finishes what is in hand, closes everything; safe to call twice."""
        tasks = {task for task in (self._watching, self._telling) if task is not None}
        self._watching = self._telling = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._listening.close()
        async with self._running.closing() as parts:
            if parts is not None:
                await parts.stop()


@backoff.on_exception(backoff.expo, NotNowError, max_time=_PUSH_WAIT, logger=None)
async def _push(parts: Assembly, raw: RawEvent) -> Summary:
    try:
        if not parts.degraded.away:
            async with asyncio.timeout(_PUSH_TRY):
                return await parts.recorder.push(raw)
    except DatabaseUnusableError:
        await parts.store.prepare()  # its tables may have gone, or never been
        raise
    except (DatabaseUnavailableError, TimeoutError) as error:
        log.warning("evento de %s sin guardar todavía: %s", raw.channel, redact_text(str(error)))
    try:
        await parts.degraded.keep(raw)
    except TypeError as error:  # nothing that a file could hold: it has to wait for alert_db
        raise DatabaseUnavailableError(f"alert_db no responde, y además: {error}") from error
    return Summary(events=1)


def _version() -> str:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return str(manifest["version"])


def _size(datos: Any) -> int:
    inner = datos.get("data") if isinstance(datos, Mapping) else datos
    return len(inner) if isinstance(inner, bytes | str) else 0
