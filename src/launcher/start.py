"""`start`: servers, databases, tables, the host, and a look at its health."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType

from src.launcher.health import Endpoint, Health
from src.launcher.home import Home, Instance
from src.launcher.host import Host
from src.launcher.mend import mend
from src.launcher.output import complain, say
from src.launcher.services import Services
from src.launcher.signals import Undo, handle_ending
from src.launcher.stop import stop_shared

DEFAULT_INSTANCE = "corec1"


@dataclass(frozen=True)
class Plan:
    """What to start, read from the environment of the operator contract."""

    home: Home
    instance: Instance
    endpoint: Endpoint
    services: Services

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Plan:
        """Read the variables.

        Raises:
            LauncherError: one of them has a value that can't be used.
        """
        home = Home.of(environ)
        instance = home.instance(environ.get("INSTANCE_ID") or DEFAULT_INSTANCE)
        return cls(home, instance, Endpoint.of(environ), Services.of(home, environ))

    def launch(self, undo: ExitStack, *, foreground: bool) -> Host:
        """Start the servers that are missing, and main.py.

        Args:
            undo: gets what ends all that was started here.
            foreground: whether main.py writes to the terminal.

        Raises:
            LauncherError: the port is taken, or a server does not come up.
        """
        if self.instance.pid.read() is not None:
            say(f"La instancia {self.instance.id} terminó sin despedirse; limpio su pid antiguo.")
            self.instance.forget()
        self.endpoint.check_free()
        addresses = self.services.start(undo)
        environ = self.services.host_environ()
        host = Host(self.instance, self.endpoint, environ, addresses, foreground)
        undo.callback(host.end)
        host.launch()
        return host


def start(environ: Mapping[str, str]) -> int:
    """Start what is missing of a home, and one instance in the background.

    Returns:
        The exit code.

    Raises:
        LauncherError: it can't be started; what this call had started is stopped again.
    """
    began = time.monotonic()
    plan, undo = Plan.of(environ), Undo()
    try:
        with plan.home.locked(), undo:
            if (process := plan.instance.running()) is not None:
                return mend(plan.instance, process, undo)
            host = plan.launch(undo, foreground=False)
            health = _healthy(host)
            undo.pop_all()
    finally:
        undo.close()
    took = time.monotonic() - began
    say(f"CoreC ({plan.instance.id}): en marcha y {health.condition} en {took:.1f} s.")
    broken = host.broken_plugins().items()
    for line in (
        *health.complaints,
        *(f"Aviso: el plugin {n} no se carga: {w}" for n, w in broken),
    ):
        say(line)
    _say_next(plan)
    return 0


def run(environ: Mapping[str, str]) -> int:
    """Run one instance in the foreground; servers stop with the last instance of the home.

    Returns:
        main.py's exit code; 128 plus the signal that killed it.

    Raises:
        LauncherError: it can't be started; what this call had started is stopped again.
    """
    plan, undo = Plan.of(environ), Undo()
    try:
        with plan.home.locked(), undo:
            if (process := plan.instance.running()) is not None:
                return mend(plan.instance, process, undo)
            host = plan.launch(undo, foreground=True)
            child = _handing_signals_on(host)
            undo.pop_all()
    finally:
        undo.close()
    health = host.wait_healthy()
    if health is not None and health.works:
        say(f"CoreC ({plan.instance.id}): en marcha y {health.condition}. Ctrl-C lo detiene.")
        for line in health.complaints:
            say(line)
    elif host.exit_code() is None:
        complain(str(host.fault(health)))
    code = child.wait()
    with plan.home.locked():
        # Meanwhile somebody may have stopped it and started another of its name.
        if plan.instance.running() is None:
            plan.instance.forget()
        stop_shared(plan.home)
    return code if code >= 0 else 128 - code


def _healthy(host: Host) -> Health:
    health = host.wait_healthy()
    if health is None or not health.works or host.exit_code() is not None:
        raise host.fault(health)
    return health


def _handing_signals_on(host: Host) -> subprocess.Popen[bytes]:
    """Let Ctrl-C reach main.py, whose session of its own the terminal knows nothing of."""
    child = host.child
    assert child is not None  # noqa: S101 - it was launched

    def forward(number: int, frame: FrameType | None) -> None:
        del number, frame
        child.send_signal(signal.SIGTERM)

    handle_ending(forward)
    return child


def _say_next(plan: Plan) -> None:
    port = plan.instance.port()
    say(_NEXT)
    say(f"Estado:   {plan.endpoint.url(port or plan.endpoint.port)}/health")
    say(f"Registro: {plan.instance.log}")


_NEXT = """
Qué hacer ahora:
  ./scripts/simulate.sh                                    envía cinco eventos de prueba
  ./scripts/alerts.sh list                                 muestra las alertas
  ./scripts/psql.sh alert_db -c "SELECT * FROM alerts;"    lo mismo, en SQL
  ./scripts/stop.sh                                        lo detiene todo
"""
