"""An entity: calls its processor at a steady beat and publishes what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

import psycopg2
from redis.exceptions import RedisError

from src.core.own_rows import OwnRows
from src.core.store import CorecStore, Heartbeat
from src.utils.payload import encode_frame, encode_json
from src.utils.postgres import Database
from src.utils.retry import first_line
from src.utils.tasks import CANCEL_GRACE_SECONDS

_LOG = logging.getLogger(__name__)

MAX_NAME = 50
STREAM_MAXLEN = 10_000
STREAM_TIMEOUT_SECONDS = 1.0
AUDIT_TIMEOUT_SECONDS = 5.0
STOP_SECONDS = 2.0
REPEAT_LOG_SECONDS = 60.0
ERROR_TYPE = "error_procesador"


class Procesador(Protocol):
    """What an entity needs of a processor; `lee_eventos` is optional."""

    async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> Any:
        """Do one step."""
        ...


class CeluEntidadCoreC:
    """One entity of CoreC; an `espejo` is a second one with the same processor.

    Raises:
        ValueError: an id or channel is empty or longer than its column, or the interval is not
            positive.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the contract's name
        procesador: Procesador,
        canal: str,
        intervalo: float,
        db_config: Mapping[str, Any],
        es_espejo: bool = False,
        original_id: str | None = None,
        instance_id: str = "corec1",
    ) -> None:
        for name, value in (("id", id), ("canal", canal), ("instance_id", instance_id)):
            if not 0 < len(value) <= MAX_NAME:
                raise ValueError(
                    f"{name}: se encontró {value!r}; se espera de 1 a {MAX_NAME} caracteres"
                )
        if not intervalo > 0:
            raise ValueError(f"intervalo: se encontró {intervalo!r}; se espera más de 0 segundos")
        self.id = id
        self.procesador = procesador
        self.canal = canal
        self.intervalo = intervalo
        self.db_config = db_config
        self.es_espejo = es_espejo
        self.original_id = original_id
        self.instance_id = instance_id
        self._store: CorecStore | None = None
        self._own_database: Database | None = None
        self._redis: Any = None
        self._redis_down = False
        self._stop = asyncio.Event()
        self._step: asyncio.Task[None] | None = None
        self._last_seen = 0
        # Shared with the mirror, so that neither takes the pair's own publications for input.
        self._own_rows = OwnRows()
        self._last_error = ("", float("-inf"))
        self._busy_seconds = 0.0

    def vincular(self, store: CorecStore, redis_client: Any) -> None:
        """Share the host's connections; without this the entity opens its own to corec_db."""
        self._store = store
        self._redis = redis_client

    def crear_espejo(self) -> CeluEntidadCoreC:
        """Make the mirror `espejo_<id>`, with the same processor object.

        Raises:
            ValueError: the mirror's id would be too long.
        """
        espejo = CeluEntidadCoreC(
            f"espejo_{self.id}",
            self.procesador,
            self.canal,
            self.intervalo,
            self.db_config,
            es_espejo=True,
            original_id=self.id,
            instance_id=self.instance_id,
        )
        espejo._own_rows = self._own_rows
        return espejo

    @property
    def activa(self) -> bool:
        """Whether it was not told to stop."""
        return not self._stop.is_set()

    def latido(self) -> Heartbeat:
        """Describe itself for `nodos`."""
        load = min(1.0, self._busy_seconds / self.intervalo)
        return Heartbeat(self.id, load, self.es_espejo, self.original_id)

    async def inicializar(self) -> None:
        """Get ready to read and publish. Opens no connection yet, so a database may be down."""
        if self._store is None:
            self._own_database = Database(
                self.db_config, application_name=f"corec:{self.instance_id}", size=1
            )
            self._store = CorecStore(self._own_database)

    async def obtener_datos(self) -> dict[str, Any] | None:
        """Read the newest payload of the own channel that this entity has not seen.

        What it or its mirror published, in an earlier run too, is no input.

        Returns:
            `id, canal, datos, timestamp, instance_id`, with `datos` as stored; None when there is
            nothing new, and for a processor that reads its own input.

        Raises:
            psycopg2.Error: corec_db can't be read.
        """
        if getattr(self.procesador, "lee_eventos", False):
            return None
        store, own = self._ready(), self._own_rows
        if not own.resumed:
            key = (self.original_id or self.id, self.canal, self.instance_id)
            own.resume(await store.last_published(*key))
        while True:
            after = max(self._last_seen, own.floor)
            row = await store.newest_event(self.canal, after, own.ids())
            if row is None:
                return None
            if row["id"] not in own:  # else it was published since the question was put
                self._last_seen = row["id"]
                return row

    async def procesar(self) -> dict[str, Any]:
        """Do one step; a fault becomes `estado: "error"` with its `mensaje`."""
        common = {
            "nano_id": self.id,
            "canal": self.canal,
            "timestamp": time.time(),
            "es_espejo": self.es_espejo,
            "original_id": self.original_id,
            "instance_id": self.instance_id,
        }
        contexto = {
            "tipo": "nano",
            "canal": self.canal,
            "instance_id": self.instance_id,
            "nano_id": self.id,
        }
        try:
            datos = await self.obtener_datos()
            resultado = await self.procesador.procesar(datos or {}, contexto)
        # Whatever a processor does, the entity goes on; SystemExit would end the whole host.
        except (Exception, SystemExit) as exc:  # noqa: BLE001
            _LOG.debug("%s: el procesador falló", self.id, exc_info=True)
            return {**common, "estado": "error", "mensaje": first_line(exc)}
        return {**common, "estado": "ok", "resultado": resultado or {}}

    async def comunicar(self, resultado: Mapping[str, Any]) -> None:
        """Publish a result in `eventos` and, best effort, on the Redis stream of the channel.

        Errors, mirrors, empty results and those with `"publicar": False` publish nothing.

        Raises:
            PayloadError: the result is no JSON.
            psycopg2.Error: corec_db can't be written.
        """
        content = resultado.get("resultado")
        if self.es_espejo or resultado.get("estado") == "error":
            return
        if not isinstance(content, dict) or content.get("publicar") is False:
            return
        payload = {key: value for key, value in content.items() if key != "publicar"}
        if not payload:
            return
        text = encode_json(payload)
        await self._to_stream(text)
        await self._ready().publish(
            self.id, self.canal, text, self.instance_id, self._own_rows.note
        )

    async def ejecutar(self) -> None:
        """Step every `intervalo` seconds until stopped; a step that is late skips the missed ones.

        Nothing that a processor raises ends it, a cancellation of its own included.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stop.is_set():
            started = loop.time()
            await self._guarded_step()
            now = loop.time()
            self._busy_seconds = now - started
            due += self.intervalo
            if due <= now:
                due = now + self.intervalo - (now - due) % self.intervalo
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._stop.wait()

    async def detener(self) -> None:
        """Let the step in hand finish, for at most 2 s, then cancel it. Idempotent."""
        self._stop.set()
        step = self._step
        if step is not None and not step.done() and step is not asyncio.current_task():
            await asyncio.wait({step}, timeout=STOP_SECONDS)
            if not step.done():
                _LOG.warning("%s: el paso en curso no terminó y se cancela", self.id)
                step.cancel()
                await asyncio.wait({step}, timeout=CANCEL_GRACE_SECONDS)
        if self._own_database is not None:
            await self._own_database.close()

    async def _guarded_step(self) -> None:
        step = self._step = asyncio.create_task(self._one_step(), name=self.id)
        try:
            await asyncio.wait({step})
        except asyncio.CancelledError:
            step.cancel()
            await asyncio.wait({step}, timeout=CANCEL_GRACE_SECONDS)
            raise
        if self._stop.is_set() and step.cancelled():
            return
        fault = asyncio.CancelledError() if step.cancelled() else step.exception()
        if fault is not None:
            await self._report(first_line(fault))

    async def _one_step(self) -> None:
        resultado = await self.procesar()
        if resultado["estado"] == "error":
            await self._report(resultado["mensaje"])
        else:
            await self.comunicar(resultado)

    async def _report(self, message: str) -> None:
        """Tell a fault to the log (the same one once a minute) and count it into `auditoria`."""
        now = asyncio.get_running_loop().time()
        known, told_at = self._last_error
        if message != known or now - told_at >= REPEAT_LOG_SECONDS:
            _LOG.error("%s (%s): %s", self.id, self.canal, message)
            self._last_error = (message, now)
        try:
            async with asyncio.timeout(AUDIT_TIMEOUT_SECONDS):
                await self._ready().record_error(
                    ERROR_TYPE, f"{self.id} ({self.canal}): {message}", self.instance_id
                )
        except (psycopg2.Error, TimeoutError) as exc:
            _LOG.debug("%s: auditoria no se pudo escribir (%s)", self.id, first_line(exc))

    async def _to_stream(self, text: str) -> None:
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(STREAM_TIMEOUT_SECONDS):
                await self._redis.xadd(
                    self.canal,
                    {"data": encode_frame(text)},
                    maxlen=STREAM_MAXLEN,
                    approximate=True,
                )
            self._redis_down = False
        except (RedisError, OSError, TimeoutError) as exc:
            if not self._redis_down:
                _LOG.warning("%s: el stream %s no recibe (%s)", self.id, self.canal, exc)
            self._redis_down = True

    def _ready(self) -> CorecStore:
        if self._store is None:
            raise RuntimeError(f"{self.id}: falta llamar a inicializar()")
        return self._store
