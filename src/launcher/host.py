"""One CoreC process, main.py: its start, its health, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.launcher.errors import LauncherError
from src.launcher.health import Endpoint, Health
from src.launcher.home import PROJECT, Instance, read_port
from src.launcher.processes import ProcessId, end, last_lines, spawn, wait_until
from src.launcher.psql import libpq_environ

HEALTHY_SECONDS = 60.0
# The host stops by itself within 10 s.
STOP: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


@dataclass
class Host:
    """One start of main.py.

    Attributes:
        instance: its files.
        endpoint: where it listens.
        addresses: its servers, by environment variable.
        foreground: whether its log goes to the terminal.
    """

    instance: Instance
    endpoint: Endpoint
    addresses: Mapping[str, str]
    foreground: bool = False
    child: subprocess.Popen[bytes] = field(init=False)
    _log_sizes: dict[Path, int] = field(init=False, default_factory=dict)

    def launch(self) -> None:
        """Start the process and remember it."""
        # http.port of an earlier run would send the health check to a stranger.
        self.instance.home.http_port_file.unlink(missing_ok=True)
        self._log_sizes = {path: _size(path) for path in self._logs}
        self.child = spawn(
            [sys.executable, PROJECT / "main.py"],
            log=None if self.foreground else self.instance.output,
            environ=self._environ(),
            cwd=PROJECT,
        )
        process = ProcessId.of(self.child.pid)
        if process is not None:
            self.instance.pid.write(process)

    def wait_healthy(self) -> Health | None:
        """Wait until it is healthy, ends, or the time is over; the last answer, if any."""
        last: Health | None = None

        def decided() -> bool:
            nonlocal last
            if self.child.poll() is not None:
                return True
            port = read_port(self.instance.home.http_port_file)
            if port is not None:
                last = self.endpoint.ask(port) or last
                if last is not None and last.ok:
                    self.instance.remember_port(port)
                    return True
            return False

        wait_until(decided, HEALTHY_SECONDS)
        return last

    def fault(self, health: Health | None) -> LauncherError:
        """What to say when it did not become healthy."""
        code = self.child.poll()
        if code is not None:
            reason = f"CoreC terminó al arrancar (código {code})."
        elif health is not None:
            reason = (
                f"CoreC no está sano tras {HEALTHY_SECONDS:.0f} s: /health respondió "
                f"{health.status}:\n{health.body}"
            )
        else:
            reason = f"CoreC no abrió su puerto HTTP en {HEALTHY_SECONDS:.0f} s."
        told = "\n".join(filter(None, (last_lines(p, since=n) for p, n in self._log_sizes.items())))
        tail = f"\nLo último que escribió ({self.instance.log}):\n{told}" if told else ""
        return LauncherError(reason + tail)

    def end(self) -> None:
        """Stop the process, whatever state it is in, and forget it."""
        process = ProcessId.of(self.child.pid)
        if process is not None:
            end(process, STOP)
        self.child.wait()
        self.instance.forget()

    @property
    def _logs(self) -> tuple[Path, ...]:
        return () if self.foreground else (self.instance.output, self.instance.log)

    def _environ(self) -> dict[str, str]:
        environ = libpq_environ()
        environ.update(self.addresses)
        environ["INSTANCE_ID"] = self.instance.id
        environ["COREC_HOME"] = str(self.instance.home.root)
        environ["COREC_HTTP_HOST"] = self.endpoint.host
        environ["COREC_HTTP_PORT"] = str(self.endpoint.port)
        if not self.foreground:
            environ["COREC_LOG_FILE"] = str(self.instance.log)
        config = Path(environ.get("ALERT_MANAGER_CONFIG") or "/")
        if not config.is_absolute() and config.exists():
            environ["ALERT_MANAGER_CONFIG"] = str(config.absolute())  # main.py runs elsewhere
        return environ


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
