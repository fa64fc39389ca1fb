"""`alerts.sh stats`: how many alerts there were, by day, severity and rule."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import click
from psycopg2.extensions import connection as Connection  # noqa: N812
from rich.text import Text

from ..domain.formats import Formats
from ..domain.model import Severity
from .data import answered, ask, find_database
from .filters import Filter, filtered
from .output import STATES, console, json_option, line, print_json, severity_text, shown_time, table

_WIDTH = 40  # characters of the longest bar
# Apart by their shape, too: not every terminal has colours, nor everybody's eyes.
_BLOCKS = {
    Severity.CRITICA: ("█", "bold red"),
    Severity.ALTA: ("▓", "red"),
    Severity.MEDIA: ("▒", "yellow"),
    Severity.BAJA: ("░", "cyan"),
}
_MOST_DAYS = 400
_MOST_RULES = 200
_WEEK = "7d"

Row = dict[str, Any]


@click.command("stats")
@filtered
@json_option()
def stats(wanted: Filter, as_json: bool) -> None:
    """Cuántas alertas hubo por día, severidad y regla, y qué fue de los avisos.

    Sin --since, la última semana.
    """
    database = find_database()
    chosen = wanted.arguments(database.formats)
    if wanted.since is None:
        chosen = {**chosen, "since": Filter(since=_WEEK).arguments(database.formats)["since"]}
    arguments = {**chosen, "zone": database.formats.zone, "limit": _MOST_RULES}

    def work(connection: Connection) -> dict[str, list[Row]]:
        days = ask(connection, "stats_days", arguments)
        ids = [row.pop(name) for row in days for name in ("first", "last")]
        span = {"first": min(ids, default=0), "last": max(ids, default=0)}
        return {
            "days": days,
            "rules": ask(connection, "stats_rules", arguments),
            "channels": ask(connection, "stats_channels", {**arguments, **span}),
        }

    found = answered(database, work) or {"days": [], "rules": [], "channels": []}
    if as_json:
        print_json({"since": chosen["since"], "until": chosen["until"], **found})
    elif not found["days"]:
        click.echo("No hay alertas.")
    else:
        _print(found, database.formats)


def _print(found: dict[str, list[Row]], formats: Formats) -> None:
    output = console()
    legend = Text("  ").join(_block(s, 1).append(f" {s.label}") for s in sorted(_BLOCKS)[::-1])
    output.print(Text("Alertas por día  "), legend, sep="")
    for text in _days(found["days"]):
        output.print(text)
    rules = table(
        "regla", "severidad", "alertas", "eventos", "abiertas", f"última ({formats.zone})"
    )
    for row in found["rules"]:
        numbers = (Text(str(row[name])) for name in ("alerts", "events", "open"))
        last = Text(shown_time(row["last"], formats))
        rules.add_row(line(row["rule"]), severity_text(row["severity"]), *numbers, last)
    output.print()
    output.print(rules)
    channels = table("canal de aviso", "estado", "avisos")
    for row in found["channels"]:
        state = Text(STATES[row["status"]])
        channels.add_row(line(row["channel"]), state, Text(str(row["messages"])))
    output.print()
    output.print(channels)


def _days(rows: list[Row]) -> list[Text]:
    """Returns a bar for each day; a day without alerts has an empty one."""
    counts: dict[str, dict[Severity, int]] = {day: {} for day in _calendar(rows)}
    for row in rows:
        try:
            counts[row["day"]][Severity.parse(row["severity"])] = row["alerts"]
        except ValueError:  # written by somebody else
            continue
    most = max(sum(day.values()) for day in counts.values())
    return [_bar(name, day, most) for name, day in counts.items()]


def _calendar(rows: list[Row]) -> list[str]:
    """Returns the days that there were alerts, with those in between where they are not many."""
    days = sorted({row["day"] for row in rows} - {"?"})
    strange = ["?"] if any(row["day"] == "?" for row in rows) else []
    if not days:
        return strange
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    if (last - first).days < _MOST_DAYS:
        days = [str(first + timedelta(n)) for n in range((last - first).days + 1)]
    return strange + days


def _bar(day: str, counts: dict[Severity, int], most: int) -> Text:
    total = sum(counts.values())
    text = Text(f"{day:<10}  {total:>7}  ")
    for severity in sorted(counts, reverse=True):
        # However few they are, they are seen.
        text.append(_block(severity, max(1, round(counts[severity] * _WIDTH / most))))
    return text


def _block(severity: Severity, times: int) -> Text:
    block, style = _BLOCKS[severity]
    return Text(block * times, style=style)
