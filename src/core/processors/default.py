"""The processor of channels that no plugin owns."""

from __future__ import annotations

from typing import Any

from src.core.processors.base import ProcesadorBase


class DefaultProcessor(ProcesadorBase):
    """Answers, and never publishes: an echo on its own channel would be its next input."""

    async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> dict[str, Any]:
        """Say that nobody does anything with this channel."""
        canal = contexto.get("canal", "")
        return {
            "publicar": False,
            "canal": canal,
            "recibido": bool(datos),
            "mensaje": f"Ningún plugin atiende el canal {canal!r}",
        }
