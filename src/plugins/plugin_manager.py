"""Finds, builds, starts and stops the plugins; a broken one never stops the others."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.event import Event
from src.core.plugin_manifest import (
    PluginError,
    PluginManifest,
    missing_dependencies,
    read_manifest,
)
from src.utils.config import PROJECT_ROOT, read_yaml
from src.utils.payload import mask
from src.utils.retry import first_line
from src.utils.tasks import run_bounded

if TYPE_CHECKING:
    from src.core.nucleus import CoreCNucleus

_LOG = logging.getLogger(__name__)

PLUGINS_DIR = PROJECT_ROOT / "src" / "plugins"
INIT_SECONDS = 30.0
STOP_SECONDS = 4.0


class PluginBase(ABC):
    """What the host expects of a plugin's main class; to inherit from it is not required."""

    @abstractmethod
    async def inicializar(self, nucleus: CoreCNucleus) -> None:
        """Get ready. A ValueError means that the configuration is wrong."""

    async def manejar_evento(self, event: Event) -> None:  # noqa: B027 - optional
        """Take one event from who holds it in hand.

        This host pushes none: every event is a row of `eventos`, and would come twice.
        """

    async def detener(self) -> None:  # noqa: B027 - optional
        """End everything; must also work after `inicializar` failed half-way."""


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin that runs."""

    manifest: PluginManifest
    instance: Any


class PluginManager:
    """The plugins of a folder.

    Args:
        plugins_dir: holds `<plugin>/plugin.json`; `main_class` is imported relative to it.
        redis_client: handed to each plugin.
        db_config: libpq keywords of corec_db, handed to each plugin.
        project_root: `config_file` is relative to it; what `config_env` names is relative to the
            working directory.
        init_seconds: how long `inicializar` of one plugin may take.
        stop_seconds: how long `detener` of one plugin may take.

    Attributes:
        plugins: what runs, by name.
        fallos: what does not, by name (by folder while the name is unknown), and why.
        config_faults: those of `fallos` that are a wrong configuration of a critical plugin.
    """

    def __init__(
        self,
        plugins_dir: Path = PLUGINS_DIR,
        *,
        redis_client: Any = None,
        db_config: Mapping[str, Any] | None = None,
        project_root: Path = PROJECT_ROOT,
        init_seconds: float = INIT_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._dir = plugins_dir
        self._redis = redis_client
        self._db_config = db_config if db_config is not None else {}
        self._root = project_root
        self._init_seconds = init_seconds
        self._stop_seconds = stop_seconds
        self._package: str | None = None
        self.plugins: dict[str, LoadedPlugin] = {}
        self.fallos: dict[str, str] = {}
        self.config_faults: dict[str, str] = {}

    @property
    def critical_channels(self) -> tuple[str, ...]:
        """The channels of the critical plugins that run."""
        return tuple(
            channel
            for plugin in self.plugins.values()
            if plugin.manifest.critical
            for channel in plugin.manifest.channels
        )

    async def load(self, nucleus: CoreCNucleus | None) -> None:
        """Load every plugin of the folder, by name; see `fallos` for what could not be."""
        for manifest in self._manifests():
            try:
                await self._load_one(manifest, nucleus)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - it may raise anything
                self._note(manifest, exc)
            else:
                _LOG.info("plugin %s %s cargado", manifest.name, manifest.version)

    def get_processor(self, channel: str) -> Any | None:
        """Find the plugin that owns a channel and has a `procesar`; the first by name wins."""
        for plugin in self.plugins.values():
            if channel in plugin.manifest.channels and hasattr(plugin.instance, "procesar"):
                return plugin.instance
        return None

    async def detener(self, seconds: float | None = None) -> None:
        """Stop the plugins side by side: one that hangs takes no time from another. Idempotent.

        Args:
            seconds: how long each may take, instead of `stop_seconds`.
        """
        limit = self._stop_seconds if seconds is None else seconds
        plugins, self.plugins = self.plugins, {}
        await asyncio.gather(
            *(self._stop_one(name, plugin.instance, limit) for name, plugin in plugins.items())
        )

    def _manifests(self) -> list[PluginManifest]:
        found: dict[str, PluginManifest] = {}
        for path in sorted(self._dir.glob("*/plugin.json")):
            folder = path.parent.name
            try:
                manifest = read_manifest(path)
            except PluginError as exc:
                self.fallos[folder] = str(exc)
                _LOG.error("plugin %s: %s", folder, exc)
                continue
            if manifest.name in found:
                self.fallos[folder] = f"ya hay un plugin llamado {manifest.name!r}"
                _LOG.error("plugin %s: %s", folder, self.fallos[folder])
                continue
            found[manifest.name] = manifest
        return sorted(found.values(), key=lambda manifest: manifest.name)

    async def _load_one(self, manifest: PluginManifest, nucleus: CoreCNucleus | None) -> None:
        if missing := missing_dependencies(manifest):
            raise PluginError(
                f"faltan dependencias de Python: {', '.join(missing)}; "
                f"instálalas con: pip install {' '.join(missing)}"
            )
        main_class = self._import(manifest.main_class)
        instance = main_class(
            config=self._config(manifest), redis_client=self._redis, db_config=self._db_config
        )
        if not callable(getattr(instance, "inicializar", None)):
            raise PluginError(f"{manifest.main_class} no tiene inicializar(nucleus)")
        try:
            if hasattr(instance, "set_nucleus"):
                instance.set_nucleus(nucleus)
            await run_bounded(
                instance.inicializar(nucleus), self._init_seconds, f"{manifest.name}.inicializar"
            )
        except BaseException:
            await self._stop_one(manifest.name, instance, self._stop_seconds)
            raise
        self.plugins[manifest.name] = LoadedPlugin(manifest, instance)

    def _config(self, manifest: PluginManifest) -> dict[str, Any]:
        if other := manifest.config_env and os.environ.get(manifest.config_env):
            return read_yaml(Path(other))
        if not manifest.config_file:
            return {}
        path = self._root / manifest.config_file
        folder = self._dir / manifest.main_class.partition(".")[0]
        own = folder / "defaults" / path.name  # what a plugin may bring with it
        if not path.exists() and own.exists():
            _LOG.warning("plugin %s: no está %s; se usa %s", manifest.name, path, own)
            path = own
        return read_yaml(path)

    def _import(self, main_class: str) -> Any:
        module_name, _, class_name = main_class.rpartition(".")
        try:
            module = importlib.import_module(f"{self._package_name()}.{module_name}")
        except (Exception, SystemExit) as exc:
            raise PluginError(f"no se puede importar {module_name}: {first_line(exc)}") from exc
        found = getattr(module, class_name, None)
        if not isinstance(found, type):
            raise PluginError(f"{module_name} no tiene ninguna clase {class_name}")
        return found

    def _package_name(self) -> str:
        """Name the package that the plugins folder is, making another folder importable."""
        if self._package is None:
            directory = self._dir.resolve()
            if directory == PLUGINS_DIR:
                self._package = "src.plugins"
            else:
                self._package = directory.name
                if str(directory.parent) not in sys.path:
                    sys.path.append(str(directory.parent))
                importlib.invalidate_caches()
        return self._package

    def _note(self, manifest: PluginManifest, fault: BaseException) -> None:
        text = mask(str(fault)) or type(fault).__name__
        if not isinstance(fault, ValueError | PluginError | TimeoutError):
            text = f"{type(fault).__name__}: {text}"
        self.fallos[manifest.name] = text
        if isinstance(fault, ValueError) and manifest.critical:
            self.config_faults[manifest.name] = text
        _LOG.error("plugin %s no se carga: %s", manifest.name, text)
        _LOG.debug("plugin %s: detalle", manifest.name, exc_info=fault)

    async def _stop_one(self, name: str, instance: Any, seconds: float) -> None:
        stop = getattr(instance, "detener", None)
        if stop is None:
            return
        try:
            await run_bounded(stop(), seconds, f"{name}.detener")
        except Exception as exc:  # noqa: BLE001 - the others still have to be stopped
            _LOG.error("plugin %s: detener falló: %s", name, first_line(exc))
