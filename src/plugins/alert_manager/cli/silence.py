"""`alerts.sh silence`: for a while nobody is told of some alerts; they are stored all the same."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from psycopg2.extensions import connection as Connection  # noqa: N812
from rich.table import Table
from rich.text import Text

from ..domain.formats import Formats
from ..domain.silences import parse_matcher
from ..domain.time_intervals import DAYS, Intervals, parse_hours, parse_weekdays
from ..durations import parse_duration
from ..start_from import parse_start_from
from ..utils.channels.registry import REPORT_CHANNELS
from ..utils.silences import Added, add_silence, weekly_json
from .data import (
    answered,
    changed,
    find_database,
    no_tables,
    rows,
)
from .life import author, clean_note, report_each, who_option
from .output import console, counted, json_option, line, print_json, shown_time, table

_LATEST = 7_258_118_400.0  # 2200-01-01; not every calendar goes on for ever
_NO_PEOPLE = ("log", *REPORT_CHANNELS)  # where nobody can say which channels people read


@click.group()
def silence() -> None:
    """Callar alertas durante un tiempo: se guardan, y no se avisa a nadie."""


@silence.command("add")
@click.argument("matchers", nargs=-1, required=True, metavar="CAMPO=VALOR…")
@click.option("--reason", required=True, help="Por qué: queda escrito.")
@click.option("--for", "length", help="Cuánto dura, por ejemplo 2h.")
@click.option("--until", help="Hasta cuándo, una hora ISO.")
@click.option("--from", "begin", help="Desde cuándo, una hora ISO; ahora mismo, sin esto.")
@click.option("--weekly", help="Solo a ciertas horas de la semana: 'sab-dom 00:00-24:00'.")
@who_option
@json_option()
def add(
    matchers: tuple[str, ...],
    reason: str,
    length: str | None,
    until: str | None,
    begin: str | None,
    weekly: str | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Calla las alertas en las que todo se cumple: rule=vix, symbol=~BTC.*, user_id!=ana.

    Valen rule, severity, channel y cualquier campo del evento; sin --for ni --until, hasta que
    alguien lo termine con `silence expire`.
    """
    database = find_database()
    formats, loaded = database.formats, database.loaded
    why = clean_note(reason.strip())
    if not why:
        raise click.UsageError("Falta el porqué: --reason 'mantenimiento de kraken'.")
    try:
        found = [parse_matcher(text) for text in matchers]
        starts = None if begin is None else _moment(begin, formats)
        ends = None if until is None else _moment(until, formats)
        lasts = None if length is None else parse_duration(length)
        _check_end(starts, ends, lasts)
        hours = None if weekly is None else json.dumps(weekly_json(_weekly(weekly, formats)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    arguments = {
        "matchers": json.dumps(found),
        "starts": starts,
        "ends": ends,
        "lasts": lasts,
        "weekly": hours,
        "who": author(who),
        "reason": why,
        "machines": sorted(_NO_PEOPLE if loaded is None else loaded.machines()),
    }

    def work(connection: Connection) -> Added:
        with connection, connection.cursor() as cursor:
            return add_silence(cursor, arguments)

    added = answered(database, work)
    if added is None:
        no_tables()
    if as_json:
        print_json({"id": added.number, "ends_at": added.ends, "muted": added.muted})
        return
    end = "que alguien lo termine" if added.ends is None else shown_time(added.ends, formats)
    click.echo(f"Silencio {added.number}, hasta {end}.")
    if added.muted:
        waiting = counted(
            added.muted, "aviso que esperaba ya no sale", "avisos que esperaban ya no salen"
        )
        click.echo(f"{waiting}.")


@silence.command("list")
@click.option("--all", "every", is_flag=True, help="También los que ya terminaron.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option("Una lista JSON.")
def list_silences(every: bool, limit: int, as_json: bool) -> None:
    """Los silencios: qué callan, hasta cuándo, quién los puso y por qué."""
    database = find_database()
    found = rows(database, "silences_list", {"all": every, "limit": limit})
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No hay silencios.")
    else:
        console().print(_table(found, database.formats))


@silence.command("expire")
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID…")
@who_option
@json_option("Una lista JSON.")
def expire(ids: tuple[int, ...], who: str | None, as_json: bool) -> None:
    """Termina silencios: se vuelve a avisar."""
    done = changed(find_database(), "silence_expire", {"ids": list(ids), "who": author(who)})
    report_each(ids, done, "Silencio", "terminado", "no existe, o ya terminó", as_json)


def _moment(text: str, formats: Formats) -> float:
    try:
        found = parse_start_from(text, formats.tzinfo).since
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"se encontró {text!r}; se espera una hora ISO como 2026-11-23T08:00")
    return found


def _check_end(starts: float | None, ends: float | None, lasts: float | None) -> None:
    if ends is not None and lasts is not None:
        raise ValueError("se espera --for o --until, no los dos")
    now = time.time()
    begin = now if starts is None else starts
    end = ends if lasts is None else begin + lasts
    if end is not None and end <= begin:
        raise ValueError("un silencio termina después de empezar")
    if end is not None and end <= now:
        raise ValueError("ese silencio ya habría terminado")
    if max(begin, end or begin) > _LATEST:
        raise ValueError("un silencio acaba antes de 2200; sin --for ni --until, no acaba")


def _weekly(text: str, formats: Formats) -> Intervals:
    days, _, hours = text.strip().partition(" ")
    if not hours:
        raise ValueError(f"se encontró {text!r}; se espera por ejemplo 'sab-dom 00:00-24:00'")
    return Intervals(
        zone=formats.tzinfo,
        weekdays=parse_weekdays(days.split(",")),
        hours=tuple(parse_hours(part) for part in hours.split(",")),
    )


def _table(found: list[dict[str, Any]], formats: Formats) -> Table:
    names = ("id", "qué", f"desde ({formats.zone})", "hasta", "quién", "por qué", "alertas")
    made = table(*names, long=("qué", "por qué"))
    for row in found:
        end = row["expired_at"] or row["ends_at"]
        shown = "-" if end is None else shown_time(end.timestamp(), formats)
        made.add_row(
            Text(str(row["id"])),
            line(" ".join("".join(matcher) for matcher in row["matchers"])),
            Text(shown_time(row["starts_at"].timestamp(), formats)),
            line(f"{shown}{_hours(row['weekly'])}"),
            line(row["who"]),
            line(row["reason"]),
            Text(str(row["alerts"])),
        )
    return made


def _hours(weekly: dict[str, Any] | None) -> str:
    """Returns the hours of the week in which a silence counts."""
    if weekly is None:
        return ""
    days = ",".join(DAYS[number] for number in weekly["weekdays"])
    hours = ",".join(f"{_clock(begin)}-{_clock(end)}" for begin, end in weekly["hours"])
    return f" ({days} {hours} {weekly['zone']})"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
