"""The module that knows every entity."""

from __future__ import annotations

from typing import ClassVar

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.modules.base import ModuloBase


class ModuloRegistro(ModuloBase):
    """Keeps the entities of this host by their ids."""

    nombre: ClassVar[str] = "registro"

    def __init__(self) -> None:
        self._entidades: dict[str, CeluEntidadCoreC] = {}

    @property
    def entidades(self) -> tuple[CeluEntidadCoreC, ...]:
        """All entities, in the order of their registration."""
        return tuple(self._entidades.values())

    def registrar(self, celu: CeluEntidadCoreC) -> None:
        """Keep one more.

        Raises:
            ValueError: the id is taken.
        """
        if celu.id in self._entidades:
            raise ValueError(f"ya hay una entidad {celu.id!r}; cada id se registra una vez")
        self._entidades[celu.id] = celu
