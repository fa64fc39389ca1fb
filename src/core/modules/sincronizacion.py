"""The module that tells corec_db who is alive."""

from __future__ import annotations

import logging
from typing import ClassVar

from src.core.modules.base import ModuloPeriodico
from src.core.modules.registro import ModuloRegistro
from src.core.store import CorecStore, Written

_LOG = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30.0
SILENT_SECONDS = 180.0
_CERTAIN = 2  # beats of a stranger in a row


class ModuloSincronizacion(ModuloPeriodico):
    """Writes a heartbeat for each entity, and drops nodes of any instance that fell silent."""

    nombre: ClassVar[str] = "sincronizacion"

    def __init__(
        self,
        store: CorecStore,
        registro: ModuloRegistro,
        instance_id: str,
        *,
        interval: float = HEARTBEAT_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        super().__init__(interval)
        self._store = store
        self._registro = registro
        self._instance_id = instance_id
        self._silent_seconds = silent_seconds
        self._written: float | None = None
        self._strangers = 0

    async def paso(self) -> None:
        """Write the heartbeats, drop the silent."""
        beats = [celu.latido() for celu in self._registro.entidades if celu.activa]
        self._compare(await self._store.heartbeat(self._instance_id, beats))
        for nodo_id, instance_id in await self._store.drop_silent(self._silent_seconds):
            _LOG.warning(
                "nodo %s (%s) sin señales desde hace más de %g s: se retira",
                nodo_id,
                instance_id,
                self._silent_seconds,
            )

    def _compare(self, written: Written) -> None:
        """Notice another host that uses our name: it writes to the same rows."""
        ours, self._written = self._written, written.now
        if ours is None or written.before is None or written.before <= ours:
            self._strangers = 0
            return
        self._strangers += 1
        # Once may be a beat of our own whose answer was lost.
        if self._strangers == _CERTAIN:
            _LOG.error(
                "otro CoreC usa también INSTANCE_ID=%s en esta corec_db: si uno cae, nadie lo "
                "nota. Da a cada uno el suyo: INSTANCE_ID=corec2 ./scripts/start.sh",
                self._instance_id,
            )
