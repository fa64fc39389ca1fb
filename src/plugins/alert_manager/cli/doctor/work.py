"""The running CoreC, and what it left undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...domain.formats import duration
from ..data import Database, NoAnswerError, ask, tried
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
    names = ("status_channels", "status_counts", "status_sources")
    try:
        found = tried(database, lambda c: {name: ask(c, name, {}) for name in names})
    except NoAnswerError as error:
        yield fault("alert_db", str(error).splitlines()[0], "./scripts/alerts.sh status")
        return
    yield from _judge_work(found or {name: [] for name in names})


def _judge_work(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    for row in found["status_channels"]:
        if row["dead"]:
            yield warning(
                f"canal {row['channel']}",
                f"{counted(row['dead'], 'aviso abandonado', 'avisos abandonados')} en un día",
                "míralos: ./scripts/alerts.sh notifications list --status dead; y para enviarlos "
                "otra vez: ./scripts/alerts.sh notifications retry --all",
            )
    for row in found["status_counts"]:
        if row["dead_letters"]:
            forms = ("evento apartado", "eventos apartados")
            yield warning(
                "eventos",
                f"{counted(row['dead_letters'], *forms)} en un día",
                "míralos: ./scripts/alerts.sh dead-letters list",
            )
    for row in found["status_sources"]:
        if (row["behind"] or 0.0) > _BEHIND and row["silent"] < _BEHIND:
            yield fault(
                f"lectura de {row['source']}",
                f"va {duration(row['behind'])} por detrás",
                "mira qué plugin escribe tanto, y si alert_db va lenta: ./scripts/alerts.sh status",
            )
