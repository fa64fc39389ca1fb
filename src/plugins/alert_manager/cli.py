"""The command line, `./scripts/alerts.sh`: English verbs, Spanish output, `--json` for scripts.

Exit codes: 0 done, 1 not found or not valid, 2 wrong usage, 3 alert_db does not answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import psycopg2
from psycopg2.extras import RealDictCursor
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .config_file import ConfigError, read_yaml
from .domain.escape import single_line
from .domain.model import Severity
from .settings import CONFIG_ENV, Loaded, check, load
from .utils.queries import query

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
_COLOURS = {"critica": "bold red", "alta": "red", "media": "yellow", "baja": "cyan"}
NOT_FOUND, NO_DATABASE = 1, 3
_TIME_FORM = "%d/%m/%Y %H:%M:%S"  # as in the messages
# JSON lets these through as they are: controls of the terminal (C1, DEL), and what hides text or
# shows it in another order.
_NOT_SHOWN = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Alertas de CoreC: qué pasó, a quién se avisó, y si la configuración es válida."""


@main.command("list")
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
    loaded = _load()
    arguments = {"severity": wanted, "channel": channel, "limit": limit}
    rows = _rows(loaded, "alerts_list", arguments)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        click.echo("No hay alertas.")
        return
    _console().print(_table(rows, loaded.settings.alert_config.timezone))


@main.command("show")
@click.argument("alert_id", type=int, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Un objeto JSON.")
def show_alert(alert_id: int, as_json: bool) -> None:
    """Una alerta entera: el evento, la regla y a quién se avisó."""
    loaded = _load()
    rows = _rows(loaded, "alert_show", {"id": alert_id})
    if not rows:
        click.echo(f"No existe la alerta {alert_id}.", err=True)
        sys.exit(NOT_FOUND)
    alert = {**rows[0], "notifications": _rows(loaded, "alert_notifications", {"id": alert_id})}
    if as_json:
        _print_json(alert)
        return
    _print_alert(alert, loaded.settings.alert_config.timezone)


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check_config(file: Path | None) -> None:
    """Comprueba un alert_manager.yaml (o el que se usaría al arrancar) sin arrancar nada."""
    file = file or Path(os.environ.get(CONFIG_ENV) or CONFIG)
    try:
        loaded = check(read_yaml(file))
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_FOUND)
    settings = loaded.settings
    click.echo(
        f"{file}: válido; {len(settings.alert_config.rules)} reglas sobre "
        f"{len(settings.channels)} canales; avisa por: {', '.join(loaded.channels)}"
    )


def _load() -> Loaded:
    try:
        return load({"config_file": str(CONFIG)})
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_FOUND)


def _rows(loaded: Loaded, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        connection = psycopg2.connect(
            **loaded.settings.database(), connect_timeout=5, application_name="alerts.sh"
        )
        try:
            with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(query(name), arguments)
                return [dict(row) for row in cursor]
        finally:
            connection.close()
    except psycopg2.errors.UndefinedTable:
        return []
    except psycopg2.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        click.echo(f"alert_db no responde: {reason}\n¿Está en marcha? ./scripts/start.sh", err=True)
        sys.exit(NO_DATABASE)


def _console() -> Console:
    # rich leaves colours out by itself where the output is no terminal; there a line stays a line.
    return Console(width=None if sys.stdout.isatty() else 1000)


def _table(rows: list[dict[str, Any]], zone: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "severidad", f"hora ({zone})", "veces", "título"):
        table.add_column(name, no_wrap=name != "título")
    for row in rows:
        # Text, never markup: what an event says is shown, not interpreted.
        table.add_row(
            Text(str(row["id"])),
            _severity(row["severity"]),
            Text(_time(row["timestamp"], zone)),
            Text(str(row["occurrences"])),
            _line(row["title"] or row["message"]),
        )
    return table


def _print_alert(alert: dict[str, Any], zone: str) -> None:
    console = _console()
    title = f"Alerta {alert['id']}: {alert['title'] or alert['message']}"
    console.print(_line(title, style="bold"))
    lines = {
        "Severidad": _severity(alert["severity"]),
        "Mensaje": _line(alert["message"]),
        "Hora": Text(f"{_time(alert['timestamp'], zone)} ({zone})"),
        "Veces": Text(f"{alert['occurrences']} (última: {_time(alert['last_seen'], zone)})"),
        "Estado": _line(alert["status"]),
        "Canal y regla": _line(f"{alert['channel']} / {alert['rule']}"),
        "Origen": _line(f"{alert['source']} {alert['event_id'] or ''} ({alert['instance_id']})"),
        "Evento": Text(_json(alert["event_data"])),
    }
    if alert["resolved_at"] is not None:
        end = f"{_time(alert['resolved_at'], zone)}: {alert['resolution']}"
        lines["Resuelta"] = _line(end)
    for name, text in lines.items():
        console.print(Text(f"  {name + ':':<15}"), text, sep="")
    console.print(Text("  Avisos:"))
    for note in alert["notifications"]:
        error = f": {note['last_error']}" if note["last_error"] else ""
        state = {"pending": "pendiente", "sent": "enviado", "dead": "abandonado"}[note["status"]]
        news = " (que se resolvió)" if note["kind"] == "recovery" else ""
        told = f"{note['channel']}{news}: {state}, intentos {note['attempts']}{error}"
        console.print(Text("    "), _line(told), sep="")


def _severity(key: str) -> Text:
    try:
        label = Severity.parse(key).label
    except ValueError:
        label = key
    return _line(label, style=_COLOURS.get(key, ""))


def _line(text: str, style: str = "") -> Text:
    """Returns what an event or a server said, without what a terminal would obey."""
    return Text(single_line(text), style=style)


def _time(timestamp: float | None, zone: str) -> str:
    if timestamp is None:
        return "-"
    try:
        return datetime.fromtimestamp(timestamp, ZoneInfo(zone)).strftime(_TIME_FORM)
    except (ValueError, OverflowError, OSError):  # an event may claim any number of seconds
        return f"{timestamp:g} s"


def _print_json(value: Any) -> None:
    click.echo(_json(value, indent=2))


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _NOT_SHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


if __name__ == "__main__":
    main()
