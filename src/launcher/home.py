"""Where a running project keeps its state: the folder COREC_HOME, `.corec` by default."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.launcher.errors import LauncherError
from src.launcher.output import say
from src.launcher.postgres import PORT
from src.launcher.processes import PidFile, ProcessId, with_variable, write_private

PROJECT = Path(__file__).resolve().parents[2]
# sun_path: 108 bytes on Linux and 104 on macOS, one of them for the closing NUL.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
# main.py writes the plugins that it could load, and could not, into the file that this one names.
STATE_VARIABLE = "COREC_STATE_FILE"
MAIN = PROJECT / "main.py"
# corec.yaml says the same: corec_db keeps "espejo_nano_alert_<id>" in 50 characters.
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,32}")
_SERVERS = ("postgres", "redis")  # whose logs lie beside those of the instances


@dataclass(frozen=True)
class Home:
    """The folder of one running project and every path in it."""

    root: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Home:
        """The home that COREC_HOME names, or the project's own."""
        named = environ.get("COREC_HOME")
        return cls(Path(named).expanduser().resolve() if named else PROJECT / ".corec")

    @property
    def run(self) -> Path:
        """Pid files and what other scripts must know of the running project."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of the servers and the instances."""
        return self.root / "logs"

    @property
    def postgres_data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.root / "data" / "postgres"

    @property
    def redis_data(self) -> Path:
        """Redis' directory."""
        return self.root / "data" / "redis"

    @property
    def http_port_file(self) -> Path:
        """Where the instance that started last writes its port."""
        return self.root / "http.port"

    @property
    def environment_file(self) -> Path:
        """The DSNs of the running servers, for psql.sh and alerts.sh."""
        return self.run / "environment"

    @property
    def sockets(self) -> Path:
        """The folder for Unix sockets: in the home, or a plain short one where its path won't do.

        libpq takes a comma for the end of a host.
        """
        longest = self.run / "pg" / f".s.PGSQL.{PORT}"
        if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES and "," not in str(longest):
            return self.run
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        # Not tempfile.gettempdir(): TMPDIR may differ between start and stop, and may be long.
        return Path(f"/tmp/corec-{os.geteuid()}-{digest}")  # noqa: S108 - prepare() checks it

    @property
    def redis_pid(self) -> PidFile:
        """The remembered Redis."""
        return PidFile(self.run / "redis.json")

    def instance(self, instance_id: str) -> Instance:
        """The files of one instance.

        Raises:
            LauncherError: the id can't be one.
        """
        if not _INSTANCE.fullmatch(instance_id) or instance_id.startswith("."):
            raise LauncherError(
                f"INSTANCE_ID: se encontró {instance_id!r}; se permiten letras, cifras, punto, "
                "guion y guion bajo, 32 como mucho, sin punto al principio."
            )
        if instance_id in _SERVERS:
            raise LauncherError(
                f"INSTANCE_ID: se encontró {instance_id!r}, que es el registro de un servidor; "
                "se espera otro nombre, por ejemplo corec2."
            )
        return Instance(self, instance_id)

    def instances(self) -> list[Instance]:
        """The instances that are remembered, running or not, and those that run all the same."""
        folder = self.run / "instances"
        running = (Path(value) for _, value in with_variable(STATE_VARIABLE, str(MAIN)))
        paths = {*folder.glob("*.json"), *(path for path in running if path.parent == folder)}
        return [Instance(self, name) for name in sorted({path.stem for path in paths})]

    def restore_http_port(self) -> None:
        """Let http.port name an instance that runs, where it names none."""
        if self.http_port_file.exists():
            return
        for instance in self.instances():
            port = instance.port()
            if port is not None and instance.running() is not None:
                write_private(self.http_port_file, f"{port}\n")
                return

    def exists(self) -> bool:
        """Whether anything was ever started here."""
        return self.run.is_dir() or (self.root / "data").is_dir()

    def prepare(self) -> None:
        """Make the folders, private to this user.

        Raises:
            LauncherError: the home is somebody else's, or the short socket folder is not safe.
        """
        self.root.mkdir(mode=_folder_mode(), parents=True, exist_ok=True)
        _refuse_foreign(self.root)
        for folder in (self.root / "data", self.run):
            folder.mkdir(mode=_folder_mode(), exist_ok=True)
        for folder in (self.logs, self.run / "instances"):
            folder.mkdir(mode=0o700, exist_ok=True)
        if self.sockets != self.run:
            self.sockets.mkdir(mode=_folder_mode(), exist_ok=True)
            _check_private(self.sockets)

    def tidy(self) -> None:
        """Remove what only a running project needs; data and logs stay."""
        self.environment_file.unlink(missing_ok=True)
        self.http_port_file.unlink(missing_ok=True)
        if self.sockets != self.run and self.sockets.is_dir():
            _check_private(self.sockets)
            for folder in (self.sockets / "pg", self.sockets):
                try:
                    folder.rmdir()
                except OSError:  # absent, or something in it lives on
                    return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one start or stop work on this home at a time; the others wait."""
        self.prepare()
        with (self.root / "lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Hay otro arranque o parada en marcha en esta carpeta; espero a que acabe…")
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class Instance:
    """One CoreC process of a home."""

    home: Home
    id: str

    @property
    def pid(self) -> PidFile:
        """Its remembered process."""
        return PidFile(self.home.run / "instances" / f"{self.id}.json")

    @property
    def log(self) -> Path:
        """What it logs."""
        return self.home.logs / f"{self.id}.log"

    @property
    def output(self) -> Path:
        """What it prints besides, such as a traceback of the interpreter."""
        return self.home.logs / f"{self.id}.out"

    @property
    def _port_file(self) -> Path:
        return self.home.run / "instances" / f"{self.id}.port"

    @property
    def state_file(self) -> Path:
        """Where it writes what its start came to; also the mark by which its process is known."""
        return self.home.run / "instances" / f"{self.id}.state"

    def running(self) -> ProcessId | None:
        """Its process, if it lives; also one whose pid file was lost."""
        return self.pid.running() or next(
            (
                found
                for found, mark in with_variable(STATE_VARIABLE, str(MAIN))
                if mark == str(self.state_file)
            ),
            None,
        )

    def port(self) -> int | None:
        """The HTTP port it was healthy on."""
        return read_port(self._port_file)

    def remember_port(self, port: int) -> None:
        """Keep its port: http.port has room for one instance only."""
        write_private(self._port_file, f"{port}\n")

    def forget(self) -> None:
        """Remove its pid and port; http.port too where it was this one's."""
        own = self.port()
        if own is not None and read_port(self.home.http_port_file) == own:
            self.home.http_port_file.unlink(missing_ok=True)
        self.pid.remove()
        self._port_file.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)
        self.home.restore_http_port()


def read_port(path: Path) -> int | None:
    """The port number in a file; None when there is none."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _folder_mode() -> int:
    # root's PostgreSQL runs as another account, which must be able to walk through, not to look.
    return 0o711 if os.geteuid() == 0 else 0o700


def _refuse_foreign(root: Path) -> None:
    owner = root.stat().st_uid
    if os.geteuid() in {0, owner}:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    raise LauncherError(
        f"La carpeta {root} es del usuario «{name}». Arranca como ese usuario, "
        "o elige otra carpeta con COREC_HOME."
    )


def _check_private(folder: Path) -> None:
    info = folder.lstat()
    private = not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and private:
        return
    raise LauncherError(
        f"La carpeta para sockets {folder} no es tuya o la puede cambiar cualquiera. Bórrala, "
        "o elige con COREC_HOME una carpeta de ruta más corta."
    )
