"""The plugin as CoreC sees it: its life cycle, its ticks, its events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import backoff

from src.core.event import Event
from src.core.processors.base import ProcesadorBase
from src.plugins.plugin_manager import PluginBase

from ..domain.errors import DatabaseUnavailableError, NotNowError
from ..domain.model import RawEvent
from ..health import Part, Report
from ..pipeline import Pipeline, Summary
from ..settings import Loaded, load
from ..web.server import Address
from .assembly import Assembly, assemble

log = logging.getLogger("corec.alert_manager")

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = ROOT / "configs" / "plugins" / "alert_manager" / "schema.sql"
_START_WAIT = 10.0  # seconds that a start waits for the databases before it goes on without
_PUSH_WAIT = 20.0  # seconds that an event in hand waits for alert_db
_REST = 1.0  # seconds between tries while a database is away
_STOP_READER = 3.0  # seconds
_SILENCE = 30.0  # seconds without a sign of life after which nobody seems to read


class AlertProcessor(ProcesadorBase, PluginBase):
    """Reads every event, remembers each alert once, and tells people.

    Args:
        config: the content of alert_manager.yaml, or the plugin.json that names it; the
            environment's ALERT_MANAGER_CONFIG goes before both.
        redis_client: a `redis.asyncio` client, or None; only speed depends on it.
        db_config: libpq keywords of corec_db.

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
        self._loaded: Loaded = load(config or {}, ROOT)
        self._redis = redis_client
        self._db_config = dict(db_config or {})
        self._assembly: Assembly | None = None
        self._reading: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._summary = Summary()
        self._schema_ready = False
        self._trouble: str | None = None

    async def inicializar(self, nucleus: Any) -> None:
        """Connects, starts to read and to deliver.

        A database that is down delays this by 10 s at the most; reading starts when it is back.

        Raises:
            ValueError: the environment's COREC_HTTP_… cannot be used.
        """
        address = Address.from_environment(os.environ)
        home = Path(os.environ.get("COREC_HOME") or ROOT / ".corec")
        parts = assemble(
            self._loaded, self._redis, self._db_config, str(nucleus.instance_id), address, home
        )
        self._assembly = parts
        await self._take_place()
        parts.delivery.start()
        self._reading = asyncio.create_task(self._read(), name="alert-reader")
        try:
            await parts.web.start()
        except OSError as error:
            # Alerts matter more than the page that tells how they are.
            log.error("no se puede escuchar en %s:%d: %s", address.host, address.port, error)

    async def procesar(self, datos: Any, contexto: Mapping[str, Any]) -> dict[str, Any]:
        """Judges all that is new; called by the entity and its mirror, also at the same time.

        Returns:
            Counts since the last call. Reports go out through delivery: nothing to publish here.
        """
        try:
            await self._drain()
        except NotNowError as error:
            self._note(str(error))
            return {"estado": "error", "mensaje": str(error), "publicar": False}
        summary, self._summary = self._summary, Summary()
        return {"estado": "ok", **asdict(summary), "publicar": False}

    async def manejar_evento(self, event: Event) -> None:
        """Judges one event that the host hands over, decoded or as `{"data": bytes}`.

        Raises:
            NotNowError: alert_db was away for 20 s; the event was not stored.
        """
        raw = RawEvent(
            source="push",
            event_id=None,
            channel=event.canal,
            payload=event.datos,
            timestamp=time.time(),
            instance_id=self._parts.instance,
            size=_size(event.datos),
        )

        @backoff.on_exception(backoff.expo, NotNowError, max_time=_PUSH_WAIT, logger=None)
        async def push() -> Summary:
            await self._ensure_schema()
            return await self._parts.pipeline.push(raw)

        try:
            self._summary += await push()
        except NotNowError:
            log.critical("evento de %s sin guardar: alert_db no responde", event.canal)
            raise

    @property
    def puerto(self) -> int | None:
        """The port of `/health` and `/metrics`; None where it could not be had."""
        return self._parts.web.port

    async def salud(self) -> Report:
        """Returns the state of each part, as `/health` shows it."""
        return await self._parts.health.report()

    async def detener(self) -> None:
        """Stops reading, finishes what is in hand, closes everything; safe to call twice."""
        parts, self._assembly = self._assembly, None
        self._stopping.set()
        if parts is None:
            return
        parts.pipeline.wake()
        if self._reading is not None:
            _, late = await asyncio.wait({self._reading}, timeout=_STOP_READER)
            for task in late:
                task.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await parts.delivery.stop()
        await parts.web.stop()
        await asyncio.gather(*(session.close() for session in parts.sessions))
        parts.pipeline.close()
        parts.reader.close()

    @property
    def _parts(self) -> Assembly:
        if self._assembly is None:
            raise RuntimeError("alert_manager no está en marcha: falta inicializar(nucleus)")
        return self._assembly

    async def _take_place(self) -> None:
        """Settles where reading begins before the host goes on: what comes later is then read."""

        @backoff.on_exception(backoff.expo, DatabaseUnavailableError, max_value=2, logger=None)
        async def settle() -> None:
            try:
                await self._ensure_schema()
                await self._parts.pipeline.take_place()
            except NotNowError as error:
                self._note(str(error))
                raise

        with contextlib.suppress(TimeoutError, NotNowError):
            async with asyncio.timeout(_START_WAIT):
                await settle()

    async def _ensure_schema(self) -> None:
        if not self._schema_ready:
            if await self._parts.store.ensure_schema(SCHEMA):
                log.info("alert_db no tenía tablas: creadas")
            self._schema_ready = True

    async def _read(self) -> None:
        """Drains and sleeps until the plugin stops; no failure ends it."""
        tick = self._loaded.settings.config.reader.tick
        pipeline = self._parts.pipeline
        while not self._stopping.is_set():
            try:
                await self._drain()
                await pipeline.sleep(tick)
            except NotNowError as error:
                # A database that went away may come back restored or empty: look at it again.
                self._schema_ready = False
                self._note(str(error))
                await self._rest()
            except Exception as error:
                self._schema_ready = False
                log.exception("fallo inesperado al leer eventos")
                self._note(f"{type(error).__name__}: {error}")
                await self._rest()

    async def _drain(self) -> None:
        await self._ensure_schema()
        self._summary += await self._parts.pipeline.drain()
        self._note(None)

    def _note(self, trouble: str | None) -> None:
        """Remembers how reading goes, and logs it when that changes."""
        if trouble != self._trouble:
            if trouble is None:
                log.info("se leen eventos de nuevo")
            else:
                log.error("no se pueden leer eventos: %s", trouble)
        self._trouble = trouble
        if self._assembly is not None:
            self._assembly.health.reader = self._reader_part(self._assembly.pipeline)

    def _reader_part(self, pipeline: Pipeline) -> Part:
        if self._trouble is not None:
            return Part(False, self._trouble)
        if pipeline.leading:
            return Part(True, "lee eventos")
        name, age = pipeline.leader or ("otra instancia", 0.0)
        if age > max(_SILENCE, 3 * self._loaded.settings.config.reader.tick):
            return Part(False, f"{name} tiene el turno de lectura y no lee desde hace {age:.0f} s")
        return Part(True, f"en espera: lee {name}")

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST):
                await self._stopping.wait()


def _size(datos: Any) -> int:
    inner = datos.get("data") if isinstance(datos, Mapping) else datos
    return len(inner) if isinstance(inner, bytes | str) else 0
