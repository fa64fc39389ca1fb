"""The names under which the alert manager tells of itself; routes and silences know them, too."""

from __future__ import annotations

LASTING = frozenset(("lectura_detenida", "lectura_retrasada", "sin_base_de_alertas", "canal_caido"))
"""Troubles that go on until we say that they are over."""

TROUBLES = LASTING | {
    "origen_vaciado",
    "eventos_antiguos",
    "configuracion_rechazada",
    "avisos_abandonados",
}
"""All of them."""
