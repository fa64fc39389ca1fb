"""What the command line asks: the configuration and alert_db, or an exit that says why not."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import click
import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from ..config_file import ConfigError, read_yaml
from ..database_settings import LINK, from_environment
from ..domain.formats import Formats
from ..home import shipped
from ..settings import Loaded, check, load
from ..utils.queries import query
from ..utils.replays import ReplayError

T = TypeVar("T")

CONFIG = shipped("alert_manager.yaml")
NOT_FOUND, NO_DATABASE = 1, 3


def load_settings(file: Path | None = None) -> Loaded:
    """Returns the configuration, or another file's; ends the program where it is not valid."""
    try:
        return load({"config_file": str(CONFIG)}) if file is None else check(read_yaml(file))
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_FOUND)


class Database(NamedTuple):
    """Where alert_db is (libpq keywords), and how the family reads times.

    `loaded` is the configuration that says so; None where that is not valid.
    """

    parameters: Mapping[str, Any]
    formats: Formats
    loaded: Loaded | None = None

    @classmethod
    def of(cls, loaded: Loaded) -> Database:
        """Returns what a configuration says."""
        return cls(loaded.settings.database(), loaded.settings.alert_config.formats(), loaded)


def find_database() -> Database:
    """Returns where alert_db is, also where the file is not valid (any more).

    What happened must be seen just then, too: the environment and defaults tell enough.
    """
    try:
        return Database.of(load({"config_file": str(CONFIG)}))
    except ConfigError as error:
        parameters = from_environment(os.environ)
        if parameters is None:
            click.echo(str(error), err=True)
            sys.exit(NOT_FOUND)
        click.echo(f"Aviso: {error}", err=True)
        return Database(parameters, Formats())


def asked(database: Database, work: Callable[[Connection], T]) -> T:
    """Returns what `work` finds in alert_db.

    Raises:
        psycopg2.OperationalError: it does not answer.
    """
    connection: Connection = psycopg2.connect(
        **{**database.parameters, **LINK}  # what a DSN says of these does not count here
    )
    try:
        return work(connection)
    finally:
        connection.close()


@contextlib.contextmanager
def reading(database: Database) -> Iterator[tuple[str, Connection, Connection]]:
    """Opens corec_db (its DSN first) and alert_db to read; ends the program where one is away."""
    dsn = os.environ.get("COREC_DB_DSN")
    if not dsn:
        click.echo("No se sabe dónde está corec_db. ¿Está en marcha? ./scripts/start.sh", err=True)
        sys.exit(NO_DATABASE)
    with contextlib.ExitStack() as opened:
        connections = []
        for name, parameters in (("corec_db", {"dsn": dsn}), ("alert_db", database.parameters)):
            try:
                connection = psycopg2.connect(**{**parameters, **LINK})
            except psycopg2.OperationalError as error:
                _no_answer(name, error)
            opened.callback(connection.close)
            connection.set_session(readonly=True, autocommit=True)
            connections.append(connection)
        try:
            yield dsn, connections[0], connections[1]
        except ReplayError as error:
            _no_answer("corec_db", error)
        except psycopg2.OperationalError as error:
            _no_answer("una base de datos", error)
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
            no_tables(f": {_first_line(error)}")


def no_tables(what: str = "") -> NoReturn:
    """Ends the program: a database has not what is asked for."""
    click.echo(_lacking(what), err=True)
    sys.exit(NOT_FOUND)


def _lacking(what: str) -> str:
    return f"Falta una tabla o una columna{what}\nLa crea el primer arranque: ./scripts/start.sh"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _no_answer(name: str, error: Exception) -> NoReturn:
    click.echo(_silent(name, error), err=True)
    sys.exit(NO_DATABASE)


def _silent(name: str, error: Exception) -> str:
    return f"{name} no responde: {_first_line(error)}\n¿Está en marcha? ./scripts/start.sh"


class NoAnswerError(Exception):
    """alert_db gave no answer; its text says why, for a person.

    Attributes:
        code: what a program that can do nothing without it exits with.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


def tried(database: Database, work: Callable[[Connection], T]) -> T | None:
    """Returns what `work` finds in alert_db, None where its tables are not made yet.

    Raises:
        NoAnswerError: alert_db does not answer, or does not take what is asked.
    """
    try:
        return asked(database, work)
    except psycopg2.errors.UndefinedTable:
        return None
    except psycopg2.OperationalError as error:
        raise NoAnswerError(_silent("alert_db", error), NO_DATABASE) from error
    except psycopg2.errors.UndefinedColumn as error:
        old = f" (el esquema de alert_db es antiguo): {_first_line(error)}"
        raise NoAnswerError(_lacking(old), NOT_FOUND) from error
    except psycopg2.Error as error:  # a number that no column holds, a role that may not
        raise NoAnswerError(f"alert_db no lo admite: {_first_line(error)}", NOT_FOUND) from error


def answered(database: Database, work: Callable[[Connection], T]) -> T | None:
    """Does what `tried` does, and ends the program where that fails."""
    try:
        return tried(database, work)
    except NoAnswerError as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)


def rows(
    database: Database, name: str, arguments: dict[str, Any], commit: bool = False
) -> list[dict[str, Any]]:
    """Returns the rows of a named statement; ends the program where alert_db does not answer."""

    def fetch(connection: Connection) -> list[dict[str, Any]]:
        found = ask(connection, name, arguments)
        if commit:
            connection.commit()
        return found

    return answered(database, fetch) or []


def ask(connection: Connection, name: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of a named statement, by their columns."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(query(name), arguments)
        return [dict(row) for row in cursor]


def changed(database: Database, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Does what `rows` does with a statement that changes something, and commits it."""
    return rows(database, name, arguments, commit=True)
