"""`alerts.sh thresholds`: the numbers that rules compare with, and changing one at once."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import click
from rich.text import Text

from ..domain.errors import NotNowError, StaleThresholdsError
from ..domain.formats import Formats
from ..domain.model import RawEvent
from ..domain.outcome import Change
from ..domain.thresholds import ACTION, SUFFIX, StoredThresholds, Thresholds, fitting
from ..judge import REFUSED
from ..settings import REPORTS, Loaded
from ..utils.thresholds import load_thresholds
from .data import NO_DATABASE, NOT_FOUND, Database, answered, load_settings
from .life import author, who_option
from .output import console, json_option, line, print_json, shown_time, table
from .recording import WHO, recording

_TRIES = 5


@click.group("thresholds")
def thresholds() -> None:
    """Los umbrales: cuánto valen ahora, quién los cambió, y cambiar uno."""


@thresholds.command("list")
@json_option("Una lista JSON.")
def list_thresholds(as_json: bool) -> None:
    """Cada umbral, con lo que dice el archivo y lo que se permite."""
    loaded = load_settings()
    database = Database.of(loaded)
    stored = answered(database, lambda c: load_thresholds(c.cursor())) or StoredThresholds()
    config = loaded.settings.alert_config
    counting, _ = fitting(config.bounds(), stored, config.threshold_fault)
    found = [_as_json(name, counting, stored) for name in sorted(counting)]
    if as_json:
        print_json(found)
        return
    formats = database.formats
    made = table("umbral", "vale", "en el archivo", "se permite", "lo cambió", long=("lo cambió",))
    for row in found:
        made.add_row(
            line(row["name"]),
            Text(formats.number(row["value"]), style="bold" if row["changed_by"] else ""),
            Text(formats.number(row["base"])),
            Text(f"{formats.number(row['low'])} a {formats.number(row['high'])}"),
            line(_changed(row, formats)),
        )
    console().print(made)


@thresholds.command("set", context_settings={"ignore_unknown_options": True})  # -5 is a number
@click.argument("name", metavar="UMBRAL")
@click.argument("value", type=float, metavar="VALOR")
@who_option
@json_option()
def set_threshold(name: str, value: float, who: str | None, as_json: bool) -> None:
    """Cambia un umbral desde ahora, también tras reiniciar; queda escrito quién fue.

    Vale hasta que alguien lo cambie otra vez, o hasta que el archivo diga otro número.
    """
    loaded = load_settings()
    try:
        change = asyncio.run(_set(loaded, name, value, author(who)))
    except NotNowError as error:
        click.echo(f"No se pudo guardar: {error}", err=True)
        sys.exit(NO_DATABASE)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_FOUND)
    if as_json:
        new = value if change is None else change.new
        print_json({"name": name, "value": new, "changed": change is not None})
    elif change is None:
        click.echo(f"{name} ya valía {value:g}.")
    else:
        click.echo(f"{name}: {change.new:g} en vez de {change.old:g}.")


async def _set(loaded: Loaded, name: str, value: float, who: str) -> Change | None:
    """Follows the command that says so, as one on `alert_data`; None: it is so already.

    Raises:
        ValueError: it cannot be followed; says why.
        NotNowError: alert_db does not answer.
    """
    known = sorted(loaded.settings.alert_config.thresholds)
    if name not in known:
        raise ValueError(f"no existe el umbral {name}; se permite: {', '.join(known)}")
    command = {"action": ACTION, f"{name}{SUFFIX}": value, "plugin": who}
    raw = RawEvent(WHO, None, REPORTS, command, time.time(), None, 0)
    async with recording(loaded) as recorder:
        for left in reversed(range(_TRIES)):
            judged = await recorder.judge([raw])
            if judged.dead_letters:
                raise ValueError(judged.dead_letters[0].reason.removeprefix(REFUSED))
            if not judged.changes:
                return None
            try:
                await recorder.record([raw], judged)
            except StaleThresholdsError:  # somebody changed one just now
                if not left:
                    raise
            else:
                break
    return judged.changes[0]


def _as_json(name: str, counting: Thresholds, stored: StoredThresholds) -> dict[str, Any]:
    threshold = counting[name]
    change = stored.changes.get(name) if threshold.changed else None
    return {
        "name": name,
        "value": threshold.value,
        "base": threshold.base,
        "low": threshold.low,
        "high": threshold.high,
        "changed_by": None if change is None else change.who,
        "changed_at": None if change is None else change.timestamp,
    }


def _changed(row: dict[str, Any], formats: Formats) -> str:
    if row["changed_by"] is None:
        return "-"
    return f"{row['changed_by']}, {shown_time(row['changed_at'], formats)}"
