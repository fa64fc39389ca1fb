"""One CoreC process, main.py: its start, its health, its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.launcher.errors import LauncherError
from src.launcher.health import Endpoint, Health
from src.launcher.home import PROJECT, STATE_VARIABLE, Instance, read_port
from src.launcher.processes import ProcessId, end, last_lines, spawn, wait_until
from src.launcher.signals import uninterrupted

HEALTHY_SECONDS = 60.0
WHOLE_SECONDS = 3.0  # for what it can do without
# The host stops by itself within 10 s.
STOP: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
EXIT_CONFIG = 2  # main.py's, for a wrong configuration
PLUGIN = "alert_manager"  # it opens the HTTP port: without it there is no health to wait for


@dataclass
class Host:
    """One start of main.py.

    Attributes:
        instance: its files.
        endpoint: where it listens.
        environ: the environment it inherits.
        addresses: its servers, by environment variable.
        foreground: whether its log goes to the terminal.
    """

    instance: Instance
    endpoint: Endpoint
    environ: Mapping[str, str]
    addresses: Mapping[str, str]
    foreground: bool = False
    child: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _log_sizes: dict[Path, int] = field(init=False, default_factory=dict)

    def launch(self) -> None:
        """Start the process and remember it."""
        # http.port of an earlier run would send the health check to a stranger.
        self.instance.home.http_port_file.unlink(missing_ok=True)
        self._log_sizes = {path: _size(path) for path in self._logs}
        with uninterrupted():
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
        """Wait until it works, can't come to that, or the time is over; the last answer.

        What it can do without, Redis for instance, is not waited for: at most for a moment.
        """
        last: Health | None = None
        worked_at: float | None = None

        def decided() -> bool:
            nonlocal last, worked_at
            if self.exit_code() is not None or self.plugin_fault() is not None:
                return True
            port = read_port(self.instance.home.http_port_file)
            if port is not None:
                last = self.endpoint.ask(port) or last
                if last is not None and last.works:
                    self.instance.remember_port(port)
                    worked_at = worked_at or time.monotonic()
                    return last.ok or time.monotonic() - worked_at > WHOLE_SECONDS
            return False

        wait_until(decided, HEALTHY_SECONDS)
        return last

    def exit_code(self) -> int | None:
        """The code that it ended with; None while it runs."""
        return None if self.child is None else self.child.poll()

    def broken_plugins(self) -> dict[str, str]:
        """Why plugins could not be loaded, by name; empty until main.py has tried."""
        return dict(self._state().get("fallos", {}))

    def plugin_fault(self) -> str | None:
        """Why alert_manager does not run; None while it does or main.py has not tried."""
        state = self._state()
        if not state or PLUGIN in state["plugins"]:
            return None
        return str(state["fallos"].get(PLUGIN) or "no está en la carpeta de plugins")

    def fault(self, health: Health | None) -> LauncherError:
        """What to say when it did not become healthy."""
        code, broken = self.exit_code(), self.plugin_fault()
        if code == EXIT_CONFIG and (told := self._told(self.instance.output)):
            # Once, as main.py printed it; the log says the same again, for later readers.
            return LauncherError(f"CoreC no arranca:\n{told}\n{_CHECK}")
        if code is not None:
            reason = f"CoreC terminó al arrancar (código {code})."
        elif broken is not None:
            reason = f"CoreC arranca, pero no su plugin {PLUGIN}: {broken}"
        elif health is not None:
            reason = (
                f"CoreC no está sano tras {HEALTHY_SECONDS:.0f} s: /health respondió "
                f"{health.status}:\n{health.body}"
            )
        else:
            reason = f"CoreC no abrió su puerto HTTP en {HEALTHY_SECONDS:.0f} s."
        told = "\n".join(filter(None, map(self._told, self._logs)))
        tail = f"\nLo último que escribió ({self.instance.log}):\n{told}" if told else ""
        return LauncherError(reason + tail)

    def end(self) -> None:
        """Stop the process, whatever state it is in, and forget it."""
        if self.child is not None:
            process = ProcessId.of(self.child.pid)
            if process is not None:
                end(process, STOP)
            self.child.wait()
        self.instance.forget()

    @property
    def _logs(self) -> tuple[Path, ...]:
        return () if self.foreground else (self.instance.output, self.instance.log)

    def _told(self, log: Path) -> str:
        return last_lines(log, since=self._log_sizes.get(log, 0))

    def _state(self) -> dict[str, Any]:
        """What main.py wrote down; empty before it did."""
        try:
            state = json.loads(self.instance.state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        # An earlier run's file may lie there until ours is written.
        ours = self.child is not None and state["pid"] == self.child.pid
        return dict(state) if ours else {}

    def _environ(self) -> dict[str, str]:
        environ = dict(self.environ)
        environ.update(self.addresses)
        environ["INSTANCE_ID"] = self.instance.id
        environ["COREC_HOME"] = str(self.instance.home.root)
        environ["COREC_HTTP_HOST"] = self.endpoint.host
        environ["COREC_HTTP_PORT"] = str(self.endpoint.port)
        environ[STATE_VARIABLE] = str(self.instance.state_file)
        if not self.foreground:
            environ["COREC_LOG_FILE"] = str(self.instance.log)
        config = Path(environ.get("ALERT_MANAGER_CONFIG") or "/")
        if not config.is_absolute() and config.exists():
            environ["ALERT_MANAGER_CONFIG"] = str(config.absolute())  # main.py runs elsewhere
        return environ


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


_CHECK = (
    "Corrígelo y repite ./scripts/start.sh. "
    "Para comprobarlo sin arrancar: ./scripts/alerts.sh check-config"
)
