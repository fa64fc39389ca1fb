"""`alerts.sh tail`: new alerts as they come, until somebody ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
import psycopg2
from rich.text import Text

from .data import Database, ask, asked, find_database, rows
from .filters import Filter, filtered
from .output import console, json_option, line, print_json_line, severity_text, shown_time

_PAGE = 500  # alerts
_POLL = 1.0  # seconds between two looks
_PATIENCE = 5.0  # seconds between two tries while alert_db is away


@click.command("tail")
@filtered
@click.option(
    *("-n", "--lines", "count"),
    default=10,
    show_default=True,
    type=click.IntRange(0, 10_000),
    help="Cuántas de las que ya había se muestran antes.",
)
@json_option("Un objeto JSON por línea.")
def tail(wanted: Filter, count: int, as_json: bool) -> None:
    """Las alertas nuevas, según llegan; Ctrl-C lo termina."""
    database = find_database()
    arguments = wanted.arguments(database.formats)
    # In this order: one that comes in between is shown by what follows, and not twice.
    newest = rows(database, "alerts_newest", {})
    last = newest[0]["id"] if newest else 0
    before = {**arguments, "last": last, "limit": count}
    try:
        for alert in reversed(rows(database, "alerts_list", before)):
            _print(alert, database, as_json)
        for alert in _following(database, arguments, last):
            _print(alert, database, as_json)
    except KeyboardInterrupt:
        return


def _following(
    database: Database, arguments: dict[str, Any], last: int
) -> Iterator[dict[str, Any]]:
    """Yields alerts newer than the one with the id `last`, also after alert_db was away."""
    is_away = False
    while True:
        try:
            page = {**arguments, "after": last, "limit": _PAGE}
            found = asked(database, partial(ask, name="alerts_after", arguments=page))
            if is_away:
                click.echo("alert_db responde de nuevo.", err=True)
            is_away = False
        except psycopg2.errors.UndefinedTable:  # before the first start
            found = []
        except psycopg2.OperationalError as error:
            if not is_away:
                reason = str(error).strip().splitlines()[0]
                click.echo(f"alert_db no responde, se sigue esperando: {reason}", err=True)
            is_away, found = True, []
        for alert in found:
            last = alert["id"]
            yield alert
        if len(found) < _PAGE:
            time.sleep(_PATIENCE if is_away else _POLL)


def _print(alert: dict[str, Any], database: Database, as_json: bool) -> None:
    if as_json:
        print_json_line(alert)
        return
    when = shown_time(alert["timestamp"], database.formats)
    title = line(alert["title"] or alert["message"])
    severity = severity_text(alert["severity"])
    severity.pad_right(len("crítica") - len(severity))
    console().print(Text(f"{when}  "), severity, Text(f"  {alert['id']}  "), title, sep="")
