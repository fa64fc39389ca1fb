"""The nucleus of CoreC v4: starts and stops connections, plugins, entities and modules in order.

Micro-entities of CoreC are not part of this host.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from src.core import fallback
from src.core.alerts import publish_alert
from src.core.celu_entidad import CeluEntidadCoreC
from src.core.modules.auditoria import ModuloAuditoria
from src.core.modules.base import ModuloBase
from src.core.modules.ejecucion import ModuloEjecucion
from src.core.modules.registro import ModuloRegistro
from src.core.modules.sincronizacion import ModuloSincronizacion
from src.core.processors.default import DefaultProcessor
from src.core.store import PASSING, CorecStore
from src.plugins.plugin_manager import PluginManager
from src.utils.config import DEFAULT_CONFIG, HostConfig, SecretDict, load_host_config
from src.utils.config_errors import ConfigError
from src.utils.postgres import Database
from src.utils.retry import first_line, retry
from src.utils.tasks import run_bounded

_LOG = logging.getLogger(__name__)

PUBLISH_SECONDS = 30.0
REDIS_CONNECT_SECONDS = 2.0
# Longer than the wait of a blocking XREAD that a plugin may do on the shared client.
REDIS_SOCKET_SECONDS = 10.0

# The parts of the stop. The plugins, which have the most in hand, get what the entities left over
# of the whole; the reserve is for Redis, corec_db and a cancellation's grace after each part.
STOP_SECONDS = 8.9
STOP_ENTITIES_SECONDS = 2.5
STOP_MODULES_SECONDS = 0.4
STOP_REDIS_SECONDS = 0.2
STOP_DB_SECONDS = 0.8
STOP_RESERVE_SECONDS = 1.8


@dataclass(frozen=True)
class _Parts:
    """What exists once the configuration is read."""

    settings: HostConfig
    database: Database
    store: CorecStore
    registro: ModuloRegistro
    ejecucion: ModuloEjecucion


class CoreCNucleus:
    """The host.

    Args:
        config_path: corec.yaml.
        instance_id: wins over INSTANCE_ID and the file.

    Attributes:
        config: the settings as a dictionary that hides its secrets when printed.
        db_config: libpq keywords of corec_db.
        redis_client: redis.asyncio client, bytes in and out, that reconnects by itself.
        canales_criticos: channels whose entities get a mirror.
        publish_seconds: how long `publicar_alerta` may take.
    """

    def __init__(
        self, config_path: str | Path = DEFAULT_CONFIG, instance_id: str | None = None
    ) -> None:
        self._config_path = Path(config_path)
        self._given_instance = instance_id
        self.instance_id = instance_id or ""
        self.config: dict[str, Any] = {}
        self.db_config: dict[str, Any] = SecretDict()
        self.redis_client: Any = None
        self.plugin_manager: PluginManager | None = None
        self.canales_criticos: tuple[str, ...] = ()
        self.modulos: dict[str, ModuloBase] = {}
        self.publish_seconds = PUBLISH_SECONDS
        self._parts: _Parts | None = None
        self._db_watch: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def inicializar(self) -> None:
        """Read the configuration, connect, load the plugins, build the modules.

        A database or Redis that is down delays this, but does not stop it.

        Raises:
            ConfigError: the host's configuration, or that of a critical plugin, is wrong.
        """
        settings = load_host_config(self._config_path, os.environ, self._given_instance)
        self.instance_id = settings.instance_id
        self.config = settings.as_dict()
        self.db_config = settings.db_config
        self.canales_criticos = settings.canales_criticos
        database = Database(self.db_config, application_name=f"corec:{self.instance_id}")
        store = CorecStore(database)
        registro = ModuloRegistro()
        self._parts = _Parts(settings, database, store, registro, ModuloEjecucion(registro))
        await self._connect_redis(settings)
        await self._check_database(self._parts)
        await self._load_plugins(settings)
        await self._build_modules(self._parts)

    async def iniciar(self) -> None:
        """Run entities and modules until `detener` is called."""
        self._ready()
        for modulo in self.modulos.values():
            await modulo.iniciar()
        _LOG.info("CoreC %s listo", self.instance_id)
        await self._stop.wait()

    async def detener(self) -> None:
        """Stop entities, modules, plugins, Redis and corec_db, in this order, within 10 s.

        Calling it again, or while it runs, waits for the one stop.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_all(), name="detener")
        await asyncio.shield(self._stopping)

    async def registrar_celu_entidad(self, celu: CeluEntidadCoreC) -> None:
        """Register an entity, and its mirror if its channel is critical; runs them if started.

        Raises:
            ValueError: the id is taken, or too long for the mirror's.
        """
        parts = self._ready()
        pair = [celu]
        if celu.canal in self.canales_criticos and not celu.es_espejo:
            pair.append(celu.crear_espejo())
        for one in pair:
            one.vincular(parts.store, self.redis_client)
            await one.inicializar()
            parts.registro.registrar(one)
            parts.ejecucion.lanzar(one)
            _LOG.info("entidad %s registrada en %s", one.id, one.canal)

    def get_procesador(self, canal: str) -> Any:
        """Find the processor of a channel: a plugin's, or a new DefaultProcessor."""
        manager = self.plugin_manager
        if manager is None:
            _LOG.warning("get_procesador(%r) antes de cargar los plugins", canal)
        elif (found := manager.get_processor(canal)) is not None:
            return found
        _LOG.warning("ningún plugin atiende el canal %s: procesador por defecto", canal)
        default = DefaultProcessor()
        default.set_nucleus(self)
        return default

    async def publicar_alerta(self, alerta: dict[str, Any]) -> None:
        """Write an alert into `eventos` on the channel `alertas`; what is no JSON goes as text.

        While corec_db does not answer it is tried again, until `publish_seconds` are over. An alert
        that can't be written, or whose caller is cancelled meanwhile, is in the log at ERROR.

        Raises:
            psycopg2.Error: corec_db did not take it in time.
        """
        await publish_alert(self._ready().store, alerta, self.instance_id, self.publish_seconds)

    async def razonar(self, datos: Any, contexto: Any) -> dict[str, Any]:
        """Answer that no reasoning engine is configured, with the data summarised."""
        return fallback.reason(datos, contexto)

    async def responder_chat(self, mensaje: str, contexto: Any = None) -> dict[str, Any]:
        """Answer that no reasoning engine is configured."""
        return fallback.chat(mensaje, contexto)

    async def _connect_redis(self, settings: HostConfig) -> None:
        url = settings.redis_url.get_secret_value()
        try:
            self.redis_client = Redis.from_url(
                url,
                socket_connect_timeout=REDIS_CONNECT_SECONDS,
                socket_timeout=REDIS_SOCKET_SECONDS,
                health_check_interval=30,
                # One more try at once mends a connection that the server closed; who can wait
                # for longer retries by himself.
                retry=Retry(NoBackoff(), 1),
            )
            self.redis_client.connection_pool.make_connection()  # an option that does not exist
        except (ValueError, TypeError):  # its text may quote the URL
            raise ConfigError("REDIS_URL: no es una URL de Redis válida (valor oculto)") from None
        try:
            async with asyncio.timeout(REDIS_CONNECT_SECONDS):
                await self.redis_client.ping()
        except (RedisError, OSError, TimeoutError) as exc:
            _LOG.warning("Redis no responde (%s): se sigue sin él", first_line(exc))

    async def _check_database(self, parts: _Parts) -> None:
        try:
            await self._prepare_database(parts, parts.settings.db_wait_seconds)
        except PASSING as exc:
            _LOG.error("corec_db no responde (%s): se sigue y se reintenta", first_line(exc))
            self._db_watch = asyncio.create_task(self._prepare_database(parts, None))

    async def _prepare_database(self, parts: _Parts, max_seconds: float | None) -> None:
        try:
            made = await retry(
                parts.store.ensure_schema,
                PASSING,
                what="corec_db",
                max_seconds=max_seconds,
                log=_LOG,
            )
        except PASSING:
            raise
        except psycopg2.Error as exc:  # the role may not: somebody else has to apply it
            _LOG.error("no se pudo aplicar configs/core/schema.sql: %s", first_line(exc))
            return
        if made:
            _LOG.info("corec_db: tablas creadas: %s", ", ".join(made))
        _LOG.info("corec_db responde")

    async def _load_plugins(self, settings: HostConfig) -> None:
        manager = PluginManager(
            settings.plugins_dir, redis_client=self.redis_client, db_config=self.db_config
        )
        self.plugin_manager = manager
        await manager.load(self)
        if manager.config_faults:
            raise ConfigError(
                "\n".join(f"plugin {name}: {why}" for name, why in manager.config_faults.items())
            )
        channels = (*settings.canales_criticos, *manager.critical_channels)
        self.canales_criticos = tuple(dict.fromkeys(channels))

    async def _build_modules(self, parts: _Parts) -> None:
        modules: tuple[ModuloBase, ...] = (
            parts.registro,
            parts.ejecucion,
            ModuloSincronizacion(parts.store, parts.registro, self.instance_id),
            ModuloAuditoria(parts.store, self.publicar_alerta),
        )
        for modulo in modules:
            await modulo.inicializar(self)
            self.modulos[modulo.nombre] = modulo

    async def _stop_all(self) -> None:
        self._stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        if self._db_watch is not None:
            self._db_watch.cancel()
        parts, manager = self._parts, self.plugin_manager
        if parts is not None:
            await self._part(parts.ejecucion.detener(), STOP_ENTITIES_SECONDS, "las entidades")
        others = [m for m in self.modulos.values() if not isinstance(m, ModuloEjecucion)]
        await self._part(_stop_each(others), STOP_MODULES_SECONDS, "los módulos")
        if manager is not None:
            left = deadline - time.monotonic() - STOP_RESERVE_SECONDS
            await self._part(manager.detener(left), left + 0.4, "los plugins")
        if self.redis_client is not None:
            await self._part(self.redis_client.aclose(), STOP_REDIS_SECONDS, "Redis")
        if parts is not None:
            await self._part(parts.database.close(STOP_DB_SECONDS / 2), STOP_DB_SECONDS, "corec_db")
        _LOG.info("CoreC %s detenido", self.instance_id)

    async def _part(self, coro: Coroutine[Any, Any, Any], seconds: float, what: str) -> None:
        try:
            await run_bounded(coro, seconds, what)
        except Exception as exc:  # noqa: BLE001 - the other parts still have to stop
            _LOG.error("al detener %s: %s", what, first_line(exc))

    def _ready(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("falta llamar a inicializar()")
        return self._parts


async def _stop_each(modules: list[ModuloBase]) -> None:
    await asyncio.gather(*(modulo.detener() for modulo in modules))
