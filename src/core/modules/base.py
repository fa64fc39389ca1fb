"""What the modules of the host have in common."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from src.utils.retry import first_line
from src.utils.tasks import CANCEL_GRACE_SECONDS

if TYPE_CHECKING:
    from src.core.nucleus import CoreCNucleus

_LOG = logging.getLogger(__name__)


class ModuloBase:
    """A part of the host with a life of its own.

    Attributes:
        nombre: its key in `nucleus.modulos`.
    """

    nombre: ClassVar[str]

    async def inicializar(self, nucleus: CoreCNucleus) -> None:
        """Get to know the host; starts nothing."""

    async def iniciar(self) -> None:
        """Start the work in the background."""

    async def detener(self) -> None:
        """End the work. Idempotent."""


class ModuloPeriodico(ModuloBase, ABC):
    """A module that takes one step, waits, and takes the next, whatever the step raises."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @abstractmethod
    async def paso(self) -> None:
        """Take one step."""

    async def iniciar(self) -> None:
        """Start the beat; the first step is taken at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._beat(), name=self.nombre)

    async def detener(self) -> None:
        """Cancel the step in hand and end the beat."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)

    async def _beat(self) -> None:
        while True:
            await self._guarded_step()
            await asyncio.sleep(self._interval)

    async def _guarded_step(self) -> None:
        try:
            await self.paso()
        except Exception as exc:  # noqa: BLE001 - the beat outlives every fault
            # Once for each outage: a database that is down for a night is one line, not a thousand.
            level = logging.DEBUG if self._failing else logging.WARNING
            _LOG.log(level, "módulo %s: %s", self.nombre, first_line(exc))
            self._failing = True
            return
        if self._failing:
            _LOG.info("módulo %s: vuelve a funcionar", self.nombre)
        self._failing = False
