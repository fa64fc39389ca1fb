"""The servers that an instance needs: embedded ones, or the user's own by DSN, one by one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.launcher import binaries
from src.launcher.errors import LauncherError
from src.launcher.home import PROJECT, Home
from src.launcher.output import say
from src.launcher.postgres import PostgresServer
from src.launcher.processes import ProcessId, write_private
from src.launcher.psql import libpq_environ, run_psql
from src.launcher.redis import RedisServer


class Server(Protocol):
    """A server that the launcher may start and stop; the user's own is only an address."""

    def start(self) -> bool:
        """Start it and wait until it answers; False when it ran already."""

    def stop(self) -> bool:
        """Stop it; False when it did not run."""

    def running(self) -> ProcessId | None:
        """Its process while it lives."""


@dataclass(frozen=True)
class DatabaseSpec:
    """A database of the project.

    Attributes:
        name: the database.
        role: its owner on the embedded server.
        variable: the environment variable that replaces it.
        schema: the file with its tables.
    """

    name: str
    role: str
    variable: str
    schema: Path


DATABASES = (
    DatabaseSpec(
        "corec_db", "corec_user", "COREC_DB_DSN", PROJECT / "configs" / "core" / "schema.sql"
    ),
    DatabaseSpec(
        "alert_db",
        "alert_user",
        "ALERT_DB_DSN",
        PROJECT / "configs" / "plugins" / "alert_manager" / "schema.sql",
    ),
)


# A server's program is needed to start it alone: one whose wheel is gone can still be stopped.
_NO_PROGRAM = Path("/nonexistent")


def embedded_postgres(home: Home, bin_dir: Path = _NO_PROGRAM) -> PostgresServer:
    """The home's PostgreSQL."""
    return PostgresServer(
        bin_dir=bin_dir,
        data=home.postgres_data,
        sockets=home.sockets / "pg",
        log=home.logs / "postgres.log",
    )


def embedded_redis(home: Home, program: Path = _NO_PROGRAM) -> RedisServer:
    """The home's Redis."""
    return RedisServer(
        program=program,
        data=home.redis_data,
        socket=home.sockets / "redis.sock",
        log=home.logs / "redis.log",
        pid_file=home.redis_pid,
    )


@dataclass(frozen=True)
class Services:
    """Where an instance finds its databases and its Redis.

    Attributes:
        home: the home.
        own: the variables of the user's own servers, with their values.
    """

    home: Home
    own: Mapping[str, str]

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str]) -> Services:
        """Read the variables of the user's own servers; an empty one counts as absent.

        Raises:
            LauncherError: a value has more than one line.
        """
        names = [*(spec.variable for spec in DATABASES), "REDIS_URL"]
        own = {name: environ[name] for name in names if environ.get(name)}
        for name, value in own.items():
            if "\n" in value:
                raise LauncherError(f"{name}: el valor debe caber en una línea.")
        return cls(home, own)

    def start(self, undo: ExitStack) -> dict[str, str]:
        """Start what is missing, make roles, databases and tables.

        Args:
            undo: gets the stop of every server that was started here.

        Returns:
            The addresses, by environment variable.

        Raises:
            LauncherError: a server does not come up, or a schema can't be applied.
        """
        addresses = dict(self.own)
        embedded = [spec for spec in DATABASES if spec.variable not in self.own]
        if embedded:
            server = embedded_postgres(self.home, binaries.postgres_bin())
            _start(server, "PostgreSQL", undo)
            for spec in embedded:
                addresses[spec.variable] = server.dsn(spec.name, spec.role)
            server.psql("postgres", "\n".join(_CREATE.format(spec=spec) for spec in embedded))
        if "REDIS_URL" not in self.own:
            redis = embedded_redis(self.home, binaries.valkey_server())
            _start(redis, "Redis", undo)
            addresses["REDIS_URL"] = redis.url
        for spec in DATABASES:
            self._apply_schema(spec, addresses[spec.variable])
        self._write_environment(addresses)
        return addresses

    def _apply_schema(self, spec: DatabaseSpec, dsn: str) -> None:
        try:
            run_psql(
                binaries.psql(),
                dsn,
                ["-f", str(spec.schema)],
                environ=os.environ if spec.variable in self.own else libpq_environ(),
            )
        except LauncherError as exc:
            where = f" ({spec.variable})" if spec.variable in self.own else ""
            raise LauncherError(
                f"No se pueden preparar las tablas de {spec.name}{where} con {spec.schema}:\n{exc}"
            ) from exc

    def _write_environment(self, addresses: Mapping[str, str]) -> None:
        lines = [f"{name}={value}" for name, value in addresses.items()]
        lines += [f"COREC_PSQL={binaries.psql()}", f"COREC_PG_SOCKETS={self.home.sockets / 'pg'}"]
        lines += [f"{name}_OWN=1" for name in self.own]
        write_private(self.home.environment_file, "\n".join(lines) + "\n")


# CREATE ROLE and CREATE DATABASE know no IF NOT EXISTS; psql runs the rows that come back.
_CREATE = r"""
SELECT 'CREATE ROLE {spec.role} LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{spec.role}') \gexec
SELECT 'CREATE DATABASE {spec.name} OWNER {spec.role}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{spec.name}') \gexec
"""


def _start(server: Server, name: str, undo: ExitStack) -> None:
    # Before the start, too: an interruption in the middle of it must not leave a server behind.
    if server.running() is None:
        undo.callback(server.stop)
    if server.start():
        say(f"{name}: en marcha.")


def stop_servers(home: Home) -> list[str]:
    """Stop the embedded servers of a home; returns the names of those that ran.

    Raises:
        LauncherError: one of them does not end.
    """
    stopped = []
    servers: tuple[tuple[str, Server], ...] = (
        ("Redis", embedded_redis(home)),
        ("PostgreSQL", embedded_postgres(home)),
    )
    for name, server in servers:
        try:
            if server.stop():
                stopped.append(name)
        except TimeoutError as exc:
            raise LauncherError(f"{name} no se detiene: {exc}.") from exc
    return stopped
