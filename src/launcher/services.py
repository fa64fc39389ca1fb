"""The servers that an instance needs: embedded ones, or the user's own by DSN, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.launcher import binaries
from src.launcher.databases import DATABASES, DatabaseSpec
from src.launcher.errors import LauncherError
from src.launcher.home import Home
from src.launcher.output import say
from src.launcher.own_database import ASTRAY, run_file
from src.launcher.postgres import SUPERUSER, PostgresServer
from src.launcher.processes import ProcessId, write_private
from src.launcher.psql import run_psql, without_libpq
from src.launcher.redis import RedisServer


class Server(Protocol):
    """A server that the launcher may start and stop; the user's own is only an address."""

    def start(self) -> bool:
        """Start it and wait until it answers; False when it ran already."""

    def stop(self) -> bool:
        """Stop it; False when it did not run."""

    def running(self) -> ProcessId | None:
        """Its process while it lives."""


_VARIABLES = (*(name for spec in DATABASES for name in spec.users), "REDIS_URL")


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
        environ: the environment that they were read from.
    """

    home: Home
    own: Mapping[str, str]
    environ: Mapping[str, str]

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str]) -> Services:
        """Read the variables of the user's own servers; an empty one counts as absent.

        Raises:
            LauncherError: a value has more than one line, or libpq's variables contradict it.
        """
        # An address of ours, of a CoreC that runs for instance, is nobody's own server.
        ours = _addresses_of_ours(home)
        own = {name: environ[name] for name in _VARIABLES if environ.get(name) not in {"", None}}
        own = {name: value for name, value in own.items() if value not in ours}
        for name, value in own.items():
            if "\n" in value:
                raise LauncherError(f"{name}: el valor debe caber en una línea.")
        for spec in DATABASES:
            lonely = sorted(spec.users.keys() & own.keys())
            if lonely and spec.variable not in own:
                raise LauncherError(
                    f"{lonely[0]} sin {spec.variable}: el plugin leería otra base que CoreC. "
                    f"Define las dos, o ninguna para usar la incluida."
                )
        services = cls(home, own, environ)
        services._check_libpq()
        return services

    @property
    def embedded(self) -> list[DatabaseSpec]:
        """The databases on the embedded server."""
        return [spec for spec in DATABASES if spec.variable not in self.own]

    def host_environ(self) -> dict[str, str]:
        """The environment for main.py: libpq's variables reach it where a database is the user's.

        They say what his address leaves out, a password or a service for instance.
        """
        environ = {
            name: value
            for name, value in self.environ.items()
            if name in self.own or name not in _VARIABLES
        }
        mine = not self.own.keys() - {"REDIS_URL"}
        return without_libpq(environ) if mine else environ

    def missing(self) -> list[str]:
        """The names of the embedded servers that are wanted and do not run."""
        return [name for name, server in self._servers() if server.running() is None]

    def start(self, undo: ExitStack) -> dict[str, str]:
        """Start what is missing, make roles, databases and tables.

        Args:
            undo: gets the stop of every server that was started here.

        Returns:
            The addresses, by environment variable.

        Raises:
            LauncherError: a server does not come up, or a schema can't be applied.
        """
        addresses = self.start_embedded(undo)
        for spec in DATABASES:
            if spec.variable in self.own:
                run_file(self.own[spec.variable], spec.schema, spec.variable)
        return addresses

    def start_embedded(self, undo: ExitStack) -> dict[str, str]:
        """Do what `start` does, but leave the user's own databases as they are."""
        for name, server in self._servers():
            _start(server, name, undo)
        if self.embedded:
            self._make_databases()
        addresses = {**self._embedded_addresses(), **self.own}
        self._write_environment(addresses)
        return addresses

    def _embedded_addresses(self) -> dict[str, str]:
        """The addresses of what is embedded; who works in a database of the user's, he says."""
        others = {name for spec in DATABASES if spec not in self.embedded for name in spec.users}
        addresses = embedded_addresses(self.home)
        return {name: value for name, value in addresses.items() if name not in others}

    def _servers(self) -> list[tuple[str, Server]]:
        servers: list[tuple[str, Server]] = []
        if self.embedded:
            servers.append(("PostgreSQL", embedded_postgres(self.home, binaries.postgres_bin())))
        if "REDIS_URL" not in self.own:
            servers.append(("Redis", embedded_redis(self.home, binaries.valkey_server())))
        return servers

    def _make_databases(self) -> None:
        server = embedded_postgres(self.home, binaries.postgres_bin())
        server.psql("postgres", "\n".join(_CREATE.format(spec=spec) for spec in self.embedded))
        for spec in self.embedded:
            # Who makes the tables owns them; only a superuser makes roles.
            for role, file in ((spec.owner, spec.schema), (SUPERUSER, spec.roles)):
                try:
                    dsn = server.dsn(spec.name, role)
                    run_psql(server.bin_dir / "psql", dsn, ["-f", str(file)])
                except LauncherError as exc:
                    raise LauncherError(
                        f"No se puede preparar {spec.name} con {file}:\n{exc}"
                    ) from exc

    def _check_libpq(self) -> None:
        """Refuse variables that only some of main.py's connections can obey.

        Raises:
            LauncherError: there are some.
        """
        if len(self.embedded) != 1:
            return
        [inner] = self.embedded
        outer = next(spec.variable for spec in DATABASES if spec is not inner)
        found = [name for name in ASTRAY if self.environ.get(name)]
        if found:
            raise LauncherError(
                f"{', '.join(found)}: valdría también para {inner.name}, que es la base incluida. "
                f"Quítala del entorno y escribe lo mismo en {outer} (por ejemplo "
                f"«service=nombre dbname=base»), o define también {inner.variable}."
            )

    def _write_environment(self, addresses: Mapping[str, str]) -> None:
        lines = [f"{name}={value}" for name, value in addresses.items()]
        if self.embedded:
            psql = binaries.postgres_bin() / "psql"
            lines += [f"COREC_PSQL={psql}", f"COREC_PG_SOCKETS={self.home.sockets / 'pg'}"]
        lines += [f"{name}_OWN=1" for name in self.own]
        # By these the command line asks what this instance does.
        if instance := self.environ.get("INSTANCE_ID"):
            lines.append(f"INSTANCE_ID={instance}")
        if config := self.environ.get("ALERT_MANAGER_CONFIG"):
            lines.append(f"ALERT_MANAGER_CONFIG={Path(config).resolve()}")
        write_private(self.home.environment_file, "\n".join(lines) + "\n")


def embedded_addresses(home: Home) -> dict[str, str]:
    """The addresses of a home's embedded servers, by environment variable."""
    server = embedded_postgres(home)
    dsns = {
        variable: server.dsn(spec.name, role)
        for spec in DATABASES
        for variable, role in spec.users.items()
    }
    return {**dsns, "REDIS_URL": embedded_redis(home).url}


def _addresses_of_ours(home: Home) -> set[str]:
    """Every address by which something of ours reaches the embedded servers, or once did."""
    owners = {embedded_postgres(home).dsn(spec.name, spec.owner) for spec in DATABASES}
    return owners | set(embedded_addresses(home).values())


# CREATE ROLE and CREATE DATABASE know no IF NOT EXISTS; psql runs the rows that come back.
_CREATE = r"""
SELECT 'CREATE ROLE {spec.owner} LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{spec.owner}') \gexec
SELECT 'CREATE DATABASE {spec.name} OWNER {spec.owner}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{spec.name}') \gexec
"""


def _start(server: Server, name: str, undo: ExitStack) -> None:
    # Before the start, too: an interruption in the middle of it must not leave a server behind.
    if server.running() is None:
        undo.callback(server.stop)
    if server.start():
        say(f"{name}: en marcha.")


def stop_servers(home: Home) -> tuple[list[str], list[str]]:
    """Stop the embedded servers of a home, the second one also when the first does not end.

    Returns:
        The names of those that ran and ended, and what to say of the others.
    """
    stopped, faults = [], []
    servers: tuple[tuple[str, Server], ...] = (
        ("Redis", embedded_redis(home)),
        ("PostgreSQL", embedded_postgres(home)),
    )
    for name, server in servers:
        try:
            if server.stop():
                stopped.append(name)
        except TimeoutError as exc:
            faults.append(f"{name} no se detiene: {exc}.")
    return stopped, faults
