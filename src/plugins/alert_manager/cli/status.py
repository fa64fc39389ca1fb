"""`alerts.sh status`: is everything well; and if not, what is not."""

from __future__ import annotations

import sys
from typing import Any

import click
from psycopg2.extensions import connection as Connection  # noqa: N812
from rich.text import Text

from ..domain.formats import duration
from ..domain.model import Severity
from .data import NOT_FOUND, NoAnswerError, ask, find_database, tried
from .output import console, counted, json_option, line, print_json, severity_text, table
from .running import Said, ask_health

Row = dict[str, Any]


@click.command("status")
@json_option()
def status(as_json: bool) -> None:
    """Cómo está CoreC: cada parte, el retraso, lo que espera. Termina con 1 si algo va mal."""
    said = ask_health()
    names = ("sources", "alerts", "channels", "counts")

    def work(connection: Connection) -> dict[str, list[Row]]:
        return {name: ask(connection, f"status_{name}", {}) for name in names}

    if not as_json:
        _print_health(said)
    nothing: dict[str, list[Row]] = {name: [] for name in names}
    silent = None
    try:
        found = tried(find_database(), work) or nothing
    except NoAnswerError as error:  # what CoreC says of itself is worth more just then
        found, silent = nothing, error
    if as_json:
        trouble = {"trouble": said.trouble, "alert_db": None if silent is None else str(silent)}
        print_json({"url": said.url, "health": said.health, **trouble, **found})
    elif silent is None:
        _print(found)
    if silent is not None:
        click.echo(str(silent), err=True)
        sys.exit(silent.code)
    if said.health is None or said.health.get("estado") != "ok":
        sys.exit(NOT_FOUND)


def _print_health(said: Said) -> None:
    output = console()
    if said.health is None:
        output.print(line(f"CoreC no está en marcha o no se le oye: {said.url} {said.trouble}"))
        output.print(line("Para arrancarlo: ./scripts/start.sh"))
        return
    output.print(Text("Estado: "), line(str(said.health.get("estado")), style="bold"), sep="")
    for name, part in said.health["partes"].items():
        mark = Text("  ✓ ", style="green") if part.get("ok") else Text("  ✗ ", style="bold red")
        output.print(mark, line(f"{name}: {part.get('detalle')}"), sep="")


def _print(found: dict[str, list[Row]]) -> None:
    output = console()
    sources = table("fuente", "la lee", "última señal", "juzgado todo hasta hace")
    for row in found["sources"]:
        behind = "-" if row["behind"] is None else duration(row["behind"])
        silent = f"hace {duration(row['silent'])}"
        sources.add_row(line(row["source"]), line(row["instance"]), Text(silent), Text(behind))
    if found["sources"]:
        output.print()
        output.print(sources)
    output.print()
    _print_alerts(found["alerts"])
    channels = table(
        "canal de aviso", "esperan", "desde hace", "su servidor pide", "abandonados hoy"
    )
    for row in found["channels"]:
        oldest, held = (
            "-" if row[name] is None else duration(row[name]) for name in ("oldest", "held")
        )
        numbers = (Text(str(row["waiting"])), Text(oldest), Text(held), Text(str(row["dead"])))
        channels.add_row(line(row["channel"]), *numbers)
    if found["channels"]:
        output.print(channels)
    else:
        output.print("Ningún aviso espera.")
    for row in found["counts"]:
        letters = counted(row["dead_letters"], "evento apartado", "eventos apartados")
        silences = counted(row["silences"], "silencio puesto", "silencios puestos")
        output.print(f"{letters} en el último día; {silences}.")


def _print_alerts(rows: list[Row]) -> None:
    """Prints how many alerts of the last month are not over, the urgent ones first."""
    output = console()
    if not rows:
        output.print("Ninguna alerta abierta en los últimos 30 días.")
        return
    order = {severity.key: severity for severity in Severity}
    shown = sorted(rows, key=lambda row: (-order.get(row["severity"], 0), row["status"]))
    parts = [
        severity_text(row["severity"]).append(f" {row['status']}: {row['alerts']}") for row in shown
    ]
    output.print(Text("Alertas de 30 días: "), Text(", ").join(parts), sep="")
