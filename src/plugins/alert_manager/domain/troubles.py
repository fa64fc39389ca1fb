"""The names under which the alert manager tells of itself; routes and silences know them, too."""

from __future__ import annotations

CHANNEL_DOWN = "canal_caido"
LASTING = frozenset(("lectura_detenida", "lectura_retrasada", "sin_base_de_alertas", CHANNEL_DOWN))
"""Troubles that go on until we say that they are over."""

TROUBLES = LASTING | {
    "origen_vaciado",
    "eventos_antiguos",
    "configuracion_rechazada",
    "avisos_abandonados",
}
"""All of them."""
