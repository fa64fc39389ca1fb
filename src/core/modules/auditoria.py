"""The module that counts errors and says when there are too many."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from src.core.modules.base import ModuloPeriodico
from src.core.store import CorecStore

CHECK_SECONDS = 60.0
WINDOW_SECONDS = 3600.0
THRESHOLD = 100
REPEAT_SECONDS = 3600.0


class ModuloAuditoria(ModuloPeriodico):
    """Alerts when `auditoria` holds more than 100 errors of the last hour, once an hour at most.

    `micro_celus_debiles` is always 0: this host has no micro-entities.
    """

    nombre: ClassVar[str] = "auditoria"

    def __init__(
        self,
        store: CorecStore,
        publish: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        interval: float = CHECK_SECONDS,
        threshold: int = THRESHOLD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(interval)
        self._store = store
        self._publish = publish
        self._threshold = threshold
        self._clock = clock
        self._alerted_at = float("-inf")

    async def paso(self) -> None:
        """Count, and alert if it is time to."""
        errors = await self._store.count_errors(WINDOW_SECONDS)
        if errors <= self._threshold or self._clock() - self._alerted_at < REPEAT_SECONDS:
            return
        await self._publish(
            {
                "tipo": "auditoria",
                "valor": {"errores": errors, "micro_celus_debiles": 0},
                "nano_id": "auditoria",
                "prioridad": 3,
            }
        )
        self._alerted_at = self._clock()
