"""What the command line prints: tables and text for people, JSON for scripts."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .domain.escape import single_line
from .domain.formats import Formats
from .domain.model import Severity

STATES = {
    "pending": "pendiente",
    "sent": "enviado",
    "dead": "abandonado",
    "moved": "entregado por otro canal",
    "muted": "callado",
}
_KINDS = {"recovery": " (que se resolvió)", "repeat": " (otra vez)", "escalation": " (escalada)"}
ATTEMPTS = {
    "sent": "enviado",
    "retry": "se reintenta",
    "throttled": "pide esperar",
    "rejected": "rechazado",
    "disabled": "canal deshabilitado",
}
_COLOURS = {"critica": "bold red", "alta": "red", "media": "yellow", "baja": "cyan"}
# JSON lets these through as they are: controls of the terminal (C1, DEL), and what hides text or
# shows it in another order.
_NOT_SHOWN = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


def console() -> Console:
    """Returns where to print."""
    # rich leaves colours out by itself where the output is no terminal; there a line stays a line.
    return Console(width=None if sys.stdout.isatty() else 1000)


@contextlib.contextmanager
def replay_progress() -> Iterator[Callable[[int, int], None]]:
    """Shows how far a replay is; yields what hears of more rows, and of how many there are."""
    # On stderr, and only on a terminal: what scripts read stays as it is.
    shown = Console(stderr=True)
    columns = (TextColumn("eventos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=shown, disable=not shown.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("eventos", total=None)
        yield lambda rows, total: progress.update(task, advance=rows, total=total)


def alert_table(rows: list[dict[str, Any]], formats: Formats) -> Table:
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


def print_alert(alert: dict[str, Any], formats: Formats) -> None:
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
    became = ATTEMPTS.get(attempt["status"], attempt["status"])
    when = shown_time(ended, formats)
    return f"{when}: {became} en {attempt['seconds']:.1f} s{': ' if said else ''}{', '.join(said)}"


def severity_text(key: str) -> Text:
    """Returns a severity's name in its colour."""
    try:
        label = Severity.parse(key).label
    except ValueError:
        label = key
    return line(label, style=_COLOURS.get(key, ""))


def line(text: str, style: str = "") -> Text:
    """Returns what an event or a server said, without what a terminal would obey."""
    return Text(single_line(text), style=style)


def shown_time(timestamp: float | None, formats: Formats) -> str:
    """Returns a time (epoch seconds) as people read it."""
    if timestamp is None:
        return "-"
    try:
        return formats.to_the_second(formats.local(timestamp))
    except (ValueError, OverflowError, OSError):  # an event may claim any number of seconds
        return f"{timestamp:g} s"


def print_json(value: Any) -> None:
    """Prints JSON in which nothing hides."""
    click.echo(to_json(value, indent=2))


def to_json(value: Any, indent: int | None = None) -> str:
    """Returns JSON in which nothing hides."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _NOT_SHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
