"""`alerts.sh list` and `show`: what happened, and everything about one alert."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..domain.formats import Formats
from .data import NOT_FOUND, find_database, rows
from .explain import reason_line, why
from .filters import Filter, filtered
from .output import (
    STATES,
    console,
    json_option,
    line,
    print_json,
    severity_text,
    shown_time,
    table,
    to_json,
)

_KINDS = {"recovery": " (que se resolvió)", "repeat": " (otra vez)", "escalation": " (escalada)"}
_ATTEMPTS = {
    "sent": "enviado",
    "retry": "se reintenta",
    "throttled": "pide esperar",
    "rejected": "rechazado",
    "disabled": "canal deshabilitado",
}


@click.command("list")
@filtered
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option("Una lista JSON.")
def list_alerts(wanted: Filter, limit: int, as_json: bool) -> None:
    """Las últimas alertas, la más nueva primero. Cada filtro se puede repetir."""
    database = find_database()
    arguments = {**wanted.arguments(database.formats), "last": None, "limit": limit}
    found = rows(database, "alerts_list", arguments)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No hay alertas." if wanted == Filter() else "No hay alertas así.")
    else:
        console().print(_table(found, database.formats))


@click.command("show")
@click.argument("alert_id", type=int, metavar="ID")
@json_option()
def show_alert(alert_id: int, as_json: bool) -> None:
    """Una alerta entera: el evento, por qué, a quién se avisó y qué se hizo con ella."""
    database = find_database()
    found = rows(database, "alert_show", {"id": alert_id})
    if not found:
        click.echo(f"No existe la alerta {alert_id}.", err=True)
        sys.exit(NOT_FOUND)
    alert = {
        **found[0],
        "why": [] if database.loaded is None else why(database.loaded, found[0]),
        "history": rows(database, "alert_history", {"id": alert_id}),
        "notifications": rows(database, "alert_notifications", {"id": alert_id}),
    }
    if as_json:
        print_json(alert)
        return
    _print(alert, database.formats)


def _table(rows: list[dict[str, Any]], formats: Formats) -> Table:
    """Returns a table of alerts, one a line."""
    made = table("id", "severidad", "estado", f"hora ({formats.zone})", "veces", "título")
    for row in rows:
        # Text, never markup: what an event says is shown, not interpreted.
        made.add_row(
            Text(str(row["id"])),
            severity_text(row["severity"]),
            line(row["status"]),
            Text(shown_time(row["timestamp"], formats)),
            Text(str(row["occurrences"])),
            line(row["title"] or row["message"]),
        )
    return made


def _print(alert: dict[str, Any], formats: Formats) -> None:
    """Prints an alert with its `notifications`."""
    output = console()
    title = f"Alerta {alert['id']}: {alert['title'] or alert['message']}"
    output.print(line(title, style="bold"))
    lines = {
        "Severidad": severity_text(alert["severity"]),
        "Mensaje": line(alert["message"]),
        "Hora": Text(f"{shown_time(alert['timestamp'], formats)} ({formats.zone})"),
        "Veces": Text(
            f"{alert['occurrences']} (última: {shown_time(alert['last_seen'], formats)})"
        ),
        "Estado": line(alert["status"]),
        "Canal y regla": line(f"{alert['channel']} / {alert['rule']}"),
        "Origen": line(
            f"{alert['source']} {alert['event_id'] or ''} ({alert['instance_id'] or '-'})"
        ),
        "Evento": Text(to_json(alert["event_data"])),
    }
    if alert["resolved_at"] is not None:
        end = f"{shown_time(alert['resolved_at'], formats)}: {alert['resolution']}"
        lines["Resuelta"] = line(end)
    for name, text in lines.items():
        output.print(Text(f"  {name + ':':<15}"), text, sep="")
    for reason in alert["why"]:
        output.print(Text(f"  {'Por qué:':<15}"), reason_line(**reason), sep="")
    for event in alert["history"]:
        output.print(Text(f"  {'Historia:':<15}"), line(_done(event, formats)), sep="")
    output.print(Text("  Avisos:"))
    for note in alert["notifications"]:
        error = f": {note['last_error']}" if note["last_error"] else ""
        state = STATES[note["status"]]
        news = _KINDS.get(note["kind"], "")
        if note["handed_from"]:
            news += f" (en lugar de {note['handed_from']})"
        told = f"{note['channel']}{news}: {state}, intentos {note['attempts']}{error}"
        output.print(Text("    "), line(told), sep="")
        for attempt in note["deliveries"]:
            output.print(Text("      "), line(_attempt(attempt, formats)), sep="")


def _done(event: dict[str, Any], formats: Formats) -> str:
    said = f": {event['note']}" if event["note"] else ""
    when = shown_time(event["at"].timestamp(), formats)
    return f"{when}: {event['action']} por {event['who']}{said}"


def _attempt(attempt: dict[str, Any], formats: Formats) -> str:
    ended = datetime.fromisoformat(attempt["ended_at"]).timestamp()
    said = [text for text in (attempt["answer"], attempt["external_id"]) if text]
    became = _ATTEMPTS.get(attempt["status"], attempt["status"])
    when = shown_time(ended, formats)
    return f"{when}: {became} en {attempt['seconds']:.1f} s{': ' if said else ''}{', '.join(said)}"
