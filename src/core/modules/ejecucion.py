"""The module that runs the entities."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.modules.base import ModuloBase
from src.core.modules.registro import ModuloRegistro
from src.utils.retry import first_line
from src.utils.tasks import CANCEL_GRACE_SECONDS

_LOG = logging.getLogger(__name__)

RESTART_SECONDS = 5.0


class ModuloEjecucion(ModuloBase):
    """Runs each entity as a task of its own, and starts one that died again after a pause."""

    nombre: ClassVar[str] = "ejecucion"

    def __init__(
        self, registro: ModuloRegistro, *, restart_seconds: float = RESTART_SECONDS
    ) -> None:
        self._registro = registro
        self._restart_seconds = restart_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = False

    async def iniciar(self) -> None:
        """Run what is registered."""
        self._running = True
        for celu in self._registro.entidades:
            self.lanzar(celu)

    def lanzar(self, celu: CeluEntidadCoreC) -> None:
        """Run one entity; before `iniciar` it only waits its turn."""
        if self._running and celu.id not in self._tasks:
            self._tasks[celu.id] = asyncio.create_task(self._supervise(celu), name=f"run:{celu.id}")

    async def detener(self) -> None:
        """Stop all entities side by side; each may finish the step in hand."""
        self._running = False
        stops = [asyncio.create_task(celu.detener()) for celu in self._registro.entidades]
        for result in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(result, BaseException):
                _LOG.error("una entidad no se detuvo bien: %s", first_line(result))
        tasks, self._tasks = set(self._tasks.values()), {}
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE_SECONDS)
        for task in tasks:
            task.cancel()

    async def _supervise(self, celu: CeluEntidadCoreC) -> None:
        while True:
            try:
                await celu.ejecutar()
                why = "su bucle terminó sin que nadie lo pidiera"
            except Exception as exc:  # noqa: BLE001 - an entity may be a subclass with faults
                why = first_line(exc)
            if not celu.activa:
                return
            _LOG.error(
                "la entidad %s murió (%s); se reinicia en %g s", celu.id, why, self._restart_seconds
            )
            await asyncio.sleep(self._restart_seconds)
