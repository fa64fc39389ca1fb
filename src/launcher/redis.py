"""A private Redis (the wheel's Valkey, which speaks its protocol): Unix socket only."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from src.launcher.errors import LauncherError
from src.launcher.processes import PidFile, ProcessId, end, find, last_lines, spawn, wait_until
from src.launcher.psql import server_environ
from src.launcher.signals import uninterrupted

START_SECONDS = 30.0
_PROGRAMS = frozenset({"valkey-server", "redis-server"})
_STOP = [(signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)]

# An append-only file loses a second at most. Of the memory limit: the plugins' streams carry no
# time to live and must not vanish, the dedupe cache carries one and may go; hence volatile-lru.
_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory": "256mb",
    "maxmemory-policy": "volatile-lru",
}


@dataclass
class RedisServer:
    """One Redis server on a directory of its own.

    Attributes:
        program: the server program.
        data: the directory for its append-only file; made when missing.
        socket: the path of its Unix socket.
        log: the file for its messages.
        pid_file: where its process is remembered.
        settings: server settings on top of the fixed ones, as name to value.
    """

    program: Path
    data: Path
    socket: Path
    log: Path
    pid_file: PidFile
    settings: Mapping[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def url(self) -> str:
        """A URL for redis-py."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def running(self) -> ProcessId | None:
        """The server of this directory, if it lives; also one whose pid file was lost."""
        return self.pid_file.running() or find(_PROGRAMS, ("--dir", str(self.data)))

    def start(self) -> bool:
        """Start the server and wait until it has loaded its data.

        Returns:
            False when it ran already.

        Raises:
            LauncherError: it does not come up.
        """
        process = self.running()
        if process is not None:
            self.pid_file.write(process)
            self._wait_ready()
            return False
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        command: list[str | Path] = [self.program, *self._options()]
        with uninterrupted():
            self._child = spawn(command, log=self.log, environ=server_environ())
            process = ProcessId.of(self._child.pid)
            if process is not None:
                self.pid_file.write(process)
        self._wait_ready()
        return True

    def stop(self) -> bool:
        """End the server; it writes what is left to its file first.

        Returns:
            False when it did not run.

        Raises:
            TimeoutError: it outlived every signal.
        """
        process = self.running()
        if process is not None:
            end(process, _STOP)
        if self._child is not None:
            self._child.wait(timeout=10)
            self._child = None
        self.pid_file.remove()
        self.socket.unlink(missing_ok=True)
        return process is not None

    def command(self, *words: str) -> str:
        """Send one command and return the first line of the answer.

        Raises:
            OSError: the server is not there.
        """
        parts = [word.encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self.socket))
            link.sendall(b"*%d\r\n%s" % (len(parts), body))
            with link.makefile("rb") as answer:
                return answer.readline().decode("utf-8", "replace").strip()

    def _ready(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def _options(self) -> list[str]:
        fixed = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "daemonize": "no",
            # The command line stays as it is: `dir` tells this server from those of other homes.
            "set-proc-title": "no",
            **_SETTINGS,
            **self.settings,
        }
        return [part for name, value in fixed.items() for part in (f"--{name}", value)]

    def _wait_ready(self) -> None:
        def decided() -> bool:
            return self._ready() or (self._child is not None and self._child.poll() is not None)

        if wait_until(decided, START_SECONDS) and self._ready():
            return
        told = last_lines(self.log)
        self.stop()
        raise LauncherError(f"Redis no arranca. Lo último de {self.log}:\n{told}")
