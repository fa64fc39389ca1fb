"""The running CoreC, and what it left undone."""

from __future__ import annotations

from collections.abc import Iterator

from ...domain.formats import duration
from ..data import Database, rows
from ..output import counted
from ..running import Said
from .finding import Finding, fault, good, warning

_BEHIND = 60.0  # seconds


def check_running(said: Said) -> Iterator[Finding]:
    """Says whether CoreC runs, and which of its parts do not work."""
    if said.health is None:
        what = f"{said.url} {said.trouble}"
        if "otro programa" in (said.trouble or ""):
            yield fault("CoreC", what, "elige otro puerto: COREC_HTTP_PORT=8001 ./scripts/start.sh")
        else:
            yield warning("CoreC", what, "arráncalo: ./scripts/start.sh")
        return
    wrong = {n: p["detalle"] for n, p in said.health["partes"].items() if not p.get("ok")}
    for name, detail in wrong.items():
        yield fault(
            f"CoreC: {name}", str(detail), "docs/operations.md dice qué hacer con cada parte"
        )
    if not wrong:
        yield good("CoreC", f"en marcha y sano ({said.url})")


def check_work(database: Database) -> Iterator[Finding]:
    """Says what nobody was told, what could not be judged, and whether reading lags."""
    for row in rows(database, "status_channels", {}):
        if row["dead"]:
            yield warning(
                f"canal {row['channel']}",
                f"{counted(row['dead'], 'aviso abandonado', 'avisos abandonados')} en un día",
                "míralos: ./scripts/alerts.sh notifications list --status dead; y para enviarlos "
                "otra vez: ./scripts/alerts.sh notifications retry --all",
            )
    for row in rows(database, "status_counts", {}):
        if row["dead_letters"]:
            forms = ("evento apartado", "eventos apartados")
            yield warning(
                "eventos",
                f"{counted(row['dead_letters'], *forms)} en un día",
                "míralos: ./scripts/alerts.sh dead-letters list",
            )
    for row in rows(database, "status_sources", {}):
        if (row["behind"] or 0.0) > _BEHIND and row["silent"] < _BEHIND:
            yield fault(
                f"lectura de {row['source']}",
                f"va {duration(row['behind'])} por detrás",
                "mira qué plugin escribe tanto, y si alert_db va lenta: ./scripts/alerts.sh status",
            )
