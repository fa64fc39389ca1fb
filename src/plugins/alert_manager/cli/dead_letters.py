"""`alerts.sh dead-letters`: events that could not be judged, why, and another try."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import click
import psycopg2
import redis
from rich.table import Table
from rich.text import Text

from ..database_settings import LINK
from ..domain.errors import NoLetterError, NotNowError
from ..domain.formats import Formats
from ..domain.model import RawEvent
from ..recorder import Recorder
from ..settings import Loaded
from ..utils.dead_letters import Letter, PayloadGoneError, event_of_entry, event_of_row, is_row
from .data import NO_DATABASE, NOT_FOUND, Database, find_database, load_settings, rows
from .output import console, counted, json_option, line, print_json, shown_time, table
from .recording import recording

_AT_ONCE = 10_000  # letters


@click.group("dead-letters")
def dead_letters() -> None:
    """Los eventos que no se entendieron: por qué, y probarlos otra vez."""


@dead_letters.command("list")
@click.option("--channel", help="Solo los de un canal de CoreC, por ejemplo trading_results.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, _AT_ONCE))
@json_option("Una lista JSON.")
def list_letters(channel: str | None, limit: int, as_json: bool) -> None:
    """Los últimos, el más nuevo primero."""
    database = find_database()
    found = _letters(database, None, channel, limit)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No hay eventos apartados.")
    else:
        console().print(_table(found, database.formats))


@dead_letters.command("show")
@click.argument("letter_id", type=int, metavar="ID")
@json_option()
def show_letter(letter_id: int, as_json: bool) -> None:
    """Uno entero: de dónde vino, por qué se apartó, y si ahora se entendería."""
    loaded = load_settings()
    database = Database.of(loaded)
    found = _letters(database, [letter_id], None, 1)
    if not found:
        click.echo(f"No existe el evento apartado {letter_id}.", err=True)
        sys.exit(NOT_FOUND)
    now = asyncio.run(_tried(loaded, [Letter.of(found[0])], dry=True))[0]
    if as_json:
        print_json({**found[0], "now": now.said, "would_pass": now.passed})
        return
    row = found[0]
    lines = {
        "Canal": line(row["channel"]),
        "Origen": line(f"{row['source']} {row['event_id'] or ''} ({row['instance_id'] or '-'})"),
        "Hora": Text(shown_time(row["timestamp"], database.formats)),
        "Tamaño": Text(f"{row['size']} bytes"),
        "Por qué": line(row["reason"]),
        "Ahora": line(now.said),
    }
    output = console()
    output.print(Text(f"Evento apartado {letter_id}", style="bold"))
    for name, text in lines.items():
        output.print(Text(f"  {name + ':':<10}"), text, sep="")


@dead_letters.command("retry")
@click.argument("ids", type=int, nargs=-1, metavar="[ID…]")
@click.option("--all", "every", is_flag=True, help="Todos.")
@click.option("--channel", help="Con --all: solo los de un canal de CoreC.")
@json_option("Una lista JSON.")
def retry_letters(ids: tuple[int, ...], every: bool, channel: str | None, as_json: bool) -> None:
    """Juzga eventos apartados otra vez: los que se nombran, o --all.

    Sirve tras corregir lo que los apartó (un límite, una regla, una versión nueva). El que se
    entiende deja de estar apartado, y su alerta, si la hay, se guarda y se avisa.
    """
    if bool(ids) == every:
        raise click.UsageError("Se espera o bien el ID de uno o más eventos, o bien --all.")
    loaded = load_settings()
    found = _letters(Database.of(loaded), list(ids) or None, channel, _AT_ONCE)
    tries = asyncio.run(_tried(loaded, [Letter.of(row) for row in reversed(found)], dry=False))
    missing = set(ids) - {row["id"] for row in found}
    tries += [Try(number, False, "no existe") for number in sorted(missing)]
    if as_json:
        print_json([one._asdict() for one in tries])
    for one in tries if not as_json else ():
        console().print(line(f"Evento apartado {one.id}: {one.said}."))
    if not tries:
        click.echo("No hay eventos apartados.", err=True)
    if not all(one.passed for one in tries):
        sys.exit(NOT_FOUND)


class Try(NamedTuple):
    """What became of another try; `said` in words for a person."""

    id: int
    passed: bool
    said: str


def _letters(
    database: Database, ids: list[int] | None, channel: str | None, limit: int
) -> list[dict[str, Any]]:
    return rows(database, "dead_letters_list", {"ids": ids, "channel": channel, "limit": limit})


async def _tried(loaded: Loaded, letters: list[Letter], dry: bool) -> list[Try]:
    """Judges each letter's event once more; `dry`: and stores nothing."""
    tries: list[Try] = []
    with Sources(loaded) as sources:
        async with recording(loaded) as recorder:
            for letter in letters:
                try:
                    event = sources.event_of(letter)
                except PayloadGoneError as error:
                    tries.append(Try(letter.id, False, f"no se puede probar: {error}"))
                    continue
                tries.append(await _try(recorder, letter, event, dry))
    return tries


async def _try(recorder: Recorder, letter: Letter, event: RawEvent, dry: bool) -> Try:
    try:
        judged = await recorder.judge([event])
        if judged.dead_letters:
            return Try(letter.id, False, f"sigue sin entenderse: {judged.dead_letters[0].reason}")
        if dry:
            wanted = counted(len(judged.candidates), "alerta", "alertas")
            told = f"daría {wanted}" if judged.candidates else "sin alerta"
            return Try(letter.id, True, f"se entiende ({told})")
        done = await recorder.record([event], replace(judged, revived=(letter.id,)))
    except NoLetterError as error:
        return Try(letter.id, False, str(error))
    except NotNowError as error:
        return Try(letter.id, False, f"no se pudo guardar: {error}")
    if done.dead_letters:
        return Try(letter.id, False, "alert_db no lo admite; su registro dice por qué")
    told = counted(done.alerts, "alerta", "alertas") if done.alerts else "ninguna alerta"
    more = f", {done.repeats} repetidas" if done.repeats else ""
    return Try(letter.id, True, f"se entiende: {told}{more}")


class Sources:
    """corec_db and Redis, opened when a letter asks for them; a context manager."""

    def __init__(self, loaded: Loaded) -> None:
        self._max_bytes = loaded.settings.config.limits.max_bytes
        self._corec_db: Any = None
        self._redis: redis.Redis | None = None

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self._corec_db, self._redis):
            if opened is not None:
                opened.close()

    def event_of(self, letter: Letter) -> RawEvent:
        """Returns a letter's event; ends the program where its source does not answer.

        Raises:
            PayloadGoneError: nobody has it any more.
        """
        if is_row(letter):
            return _answered("corec_db", lambda: self._of_row(letter))
        if letter.stream is not None:
            return _answered("Redis", lambda: self._of_entry(letter))
        raise PayloadGoneError("lo entregó el anfitrión en mano, y nadie más lo guarda")

    def _of_row(self, letter: Letter) -> RawEvent:
        if self._corec_db is None:
            self._corec_db = psycopg2.connect(_address("COREC_DB_DSN"), **LINK)
            self._corec_db.set_session(readonly=True, autocommit=True)
        return event_of_row(self._corec_db, letter, self._max_bytes)

    def _of_entry(self, letter: Letter) -> RawEvent:
        if self._redis is None:
            self._redis = redis.Redis.from_url(_address("REDIS_URL"), socket_timeout=5)
        return event_of_entry(self._redis, letter, self._max_bytes)


def _address(name: str) -> str:
    address = os.environ.get(name)
    if not address:
        click.echo(f"Falta {name} en el entorno. ¿Está en marcha? ./scripts/start.sh", err=True)
        sys.exit(NO_DATABASE)
    return address


def _answered(name: str, ask: Callable[[], RawEvent]) -> RawEvent:
    try:
        return ask()
    except (psycopg2.OperationalError, redis.RedisError) as error:
        click.echo(f"{name} no responde: {type(error).__name__}", err=True)
        click.echo("¿Está en marcha? ./scripts/start.sh", err=True)
        sys.exit(NO_DATABASE)


def _table(found: list[dict[str, Any]], formats: Formats) -> Table:
    names = ("id", f"hora ({formats.zone})", "canal", "origen", "bytes", "por qué")
    made = table(*names, long=("por qué",))
    for row in found:
        made.add_row(
            Text(str(row["id"])),
            Text(shown_time(row["timestamp"], formats)),
            line(row["channel"]),
            line(f"{row['source']} {row['event_id'] or ''}"),
            Text(str(row["size"])),
            line(row["reason"]),
        )
    return made
