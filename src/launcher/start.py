"""`start`: servers, databases, tables, the host, and a look at its health."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType

from src.launcher.health import Endpoint
from src.launcher.home import Home, Instance
from src.launcher.host import Host
from src.launcher.output import say
from src.launcher.services import Services
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
        host = Host(self.instance, self.endpoint, self.services.start(undo), foreground)
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
    plan = Plan.of(environ)
    with plan.home.locked(), ExitStack() as undo:
        if plan.instance.pid.running() is not None:
            return _already_running(plan)
        host = plan.launch(undo, foreground=False)
        health = host.wait_healthy()
        if health is None or not health.ok or host.child.poll() is not None:
            raise host.fault(health)
        undo.pop_all()
    say(f"CoreC ({plan.instance.id}): en marcha y sano en {time.monotonic() - began:.1f} s.")
    _say_next(plan)
    return 0


def run(environ: Mapping[str, str]) -> int:
    """Run one instance in the foreground; servers stop with the last instance of the home.

    Returns:
        main.py's exit code; 128 plus the signal that killed it.

    Raises:
        LauncherError: it can't be started; what this call had started is stopped again.
    """
    plan = Plan.of(environ)
    with plan.home.locked(), ExitStack() as undo:
        if plan.instance.pid.running() is not None:
            return _already_running(plan)
        host = plan.launch(undo, foreground=True)

        # main.py has a session of its own, so the terminal's Ctrl-C comes here alone and is
        # handed on once; a second one makes main.py end at once.
        def forward(number: int, frame: FrameType | None) -> None:
            del number, frame
            host.child.send_signal(signal.SIGTERM)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, forward)
        undo.pop_all()
    health = host.wait_healthy()
    if health is not None and health.ok:
        say(f"CoreC ({plan.instance.id}): en marcha y sano. Ctrl-C lo detiene.")
    code = host.child.wait()
    plan.instance.forget()
    with plan.home.locked():
        stop_shared(plan.home)
    return code if code >= 0 else 128 - code


def _already_running(plan: Plan) -> int:
    instance = plan.instance
    port = instance.port()
    health = plan.endpoint.ask(port) if port is not None else None
    if health is not None and health.ok and port is not None:
        say(f"CoreC ({instance.id}) ya está en marcha y sano: {plan.endpoint.url(port)}/health")
        return 0
    state = (
        f"/health responde {health.status}:\n{health.body}" if health else "/health no responde."
    )
    say(
        f"CoreC ({instance.id}) ya está en marcha, pero {state}\n"
        f"Mira {instance.log}, o detenlo con ./scripts/stop.sh y arranca de nuevo."
    )
    return 1


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
