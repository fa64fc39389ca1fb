"""`alerts.sh list` and `show`: what happened, and everything about one alert."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..domain.formats import Formats
from ..domain.model import Severity
from .data import NOT_FOUND, find_database, rows
from .output import STATES, console, line, print_json, severity_text, shown_time, to_json

_KINDS = {"recovery": " (que se resolvió)", "repeat": " (otra vez)", "escalation": " (escalada)"}
_ATTEMPTS = {
    "sent": "enviado",
    "retry": "se reintenta",
    "throttled": "pide esperar",
    "rejected": "rechazado",
    "disabled": "canal deshabilitado",
}


@click.command("list")
@click.option("--severity", help="Solo una severidad: critica, alta, media o baja.")
@click.option("--channel", help="Solo un canal de CoreC, por ejemplo trading_results.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Una lista JSON.")
def list_alerts(severity: str | None, channel: str | None, limit: int, as_json: bool) -> None:
    """Las últimas alertas, la más nueva primero."""
    try:
        wanted = None if severity is None else Severity.parse(severity).key
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--severity") from None
    database = find_database()
    arguments = {"severity": wanted, "channel": channel, "limit": limit}
    found = rows(database, "alerts_list", arguments)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No hay alertas.")
        return
    console().print(_table(found, database.formats))


@click.command("show")
@click.argument("alert_id", type=int, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Un objeto JSON.")
def show_alert(alert_id: int, as_json: bool) -> None:
    """Una alerta entera: el evento, la regla y a quién se avisó."""
    database = find_database()
    found = rows(database, "alert_show", {"id": alert_id})
    if not found:
        click.echo(f"No existe la alerta {alert_id}.", err=True)
        sys.exit(NOT_FOUND)
    alert = {
        **found[0],
        "history": rows(database, "alert_history", {"id": alert_id}),
        "notifications": rows(database, "alert_notifications", {"id": alert_id}),
    }
    if as_json:
        print_json(alert)
        return
    _print(alert, database.formats)


def _table(rows: list[dict[str, Any]], formats: Formats) -> Table:
    """Returns a table of alerts, one a line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "severidad", f"hora ({formats.zone})", "veces", "título"):
        table.add_column(name, no_wrap=name != "título")
    for row in rows:
        # Text, never markup: what an event says is shown, not interpreted.
        table.add_row(
            Text(str(row["id"])),
            severity_text(row["severity"]),
            Text(shown_time(row["timestamp"], formats)),
            Text(str(row["occurrences"])),
            line(row["title"] or row["message"]),
        )
    return table


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
