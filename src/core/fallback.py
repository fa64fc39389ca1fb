"""The answers of a host that has no reasoning engine: honest, local, in Spanish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.utils.payload import mask, without_secrets

NO_ENGINE = "No hay ningún motor de razonamiento configurado"
_MAX_ITEMS = 20
_MAX_TEXT = 120


def reason(data: object, context: object) -> dict[str, Any]:
    """Answer `razonar`: the data summarised, nothing concluded from it."""
    return {
        "estado": "sin_motor",
        "motor": "local",
        "respuesta": f"{NO_ENGINE}. Datos recibidos: {summarise(data)}.",
        "contexto": summarise(context),
    }


def chat(message: str, context: object) -> dict[str, Any]:
    """Answer `responder_chat`."""
    heard = mask(message.strip())[:_MAX_TEXT] or "(vacío)"
    return {
        "estado": "sin_motor",
        "motor": "local",
        "respuesta": (
            f"{NO_ENGINE}, así que no puedo responder a «{heard}». "
            f"Contexto recibido: {summarise(context)}."
        ),
    }


def summarise(value: object) -> str:
    """Put a value into one line, secrets hidden and long parts cut."""
    return _short(without_secrets(value))


def _short(value: object, *, outer: bool = True) -> str:
    if value is None or value == {} or value == []:
        return "ninguno" if outer else "vacío"
    if isinstance(value, Mapping):
        if not outer:
            return f"{{{len(value)} campos}}"
        parts = [f"{key} = {_short(inner, outer=False)}" for key, inner in value.items()]
        return _joined(parts)
    if isinstance(value, list):
        return f"[{len(value)} elementos]"
    text = str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _joined(parts: list[str]) -> str:
    more = len(parts) - _MAX_ITEMS
    return ", ".join(parts[:_MAX_ITEMS]) + (f" y {more} más" if more > 0 else "")
