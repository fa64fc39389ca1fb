"""The contract between an entity and what does its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from src.core.nucleus import CoreCNucleus


class ProcesadorBase(ABC):
    """Does the work of an entity, and of its mirror at the same time: it must be re-entrant.

    Attributes:
        lee_eventos: True when the processor reads its own input; its entities then don't query
            `eventos` for it, and `datos` is always empty.
        nucleus: the host, once `set_nucleus` was called.
    """

    lee_eventos: ClassVar[bool] = False
    nucleus: CoreCNucleus | None = None

    def set_nucleus(self, nucleus: CoreCNucleus) -> None:
        """Hand over the host."""
        self.nucleus = nucleus

    @abstractmethod
    async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> dict[str, Any]:
        """Do one step.

        Args:
            datos: the newest row of the entity's channel (`id`, `canal`, `datos` as stored,
                `timestamp`, `instance_id`), or empty when there is no new one.
            contexto: `tipo`, `canal`, `instance_id`, `nano_id`.

        Returns:
            What to publish on the channel; empty, or with `"publicar": False`, for nothing.
        """
