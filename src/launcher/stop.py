"""`stop` and `status`: end what a home runs, or say what that is."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from src.launcher.errors import LauncherError
from src.launcher.health import Endpoint
from src.launcher.home import Home, Instance
from src.launcher.host import STOP
from src.launcher.output import say
from src.launcher.processes import end
from src.launcher.services import embedded_postgres, embedded_redis, stop_servers


def stop(environ: Mapping[str, str], only: str | None = None) -> int:
    """Stop the home's instances and then its servers.

    Args:
        environ: names the home.
        only: stop this instance alone; the servers stay.

    Returns:
        The exit code.

    Raises:
        LauncherError: a process does not end, or the instance's name can't be one.
    """
    home = Home.of(environ)
    chosen = [home.instance(only)] if only is not None else None
    if not home.exists():
        say("No hay nada en marcha.")
        return 0
    with home.locked():
        stopped = [instance for instance in chosen or home.instances() if _stop_instance(instance)]
        if chosen is not None:
            if not stopped:
                say(f"La instancia {only} no está en marcha.")
            return 0
        names = stop_servers(home)
        for name in names:
            say(f"{name}: detenido.")
        home.tidy()
    say("Todo detenido." if stopped or names else "No hay nada en marcha.")
    return 0


def stop_shared(home: Home) -> None:
    """Stop the servers unless an instance of the home still runs.

    Raises:
        LauncherError: a server does not end.
    """
    if any(instance.pid.running() for instance in home.instances()):
        return
    for name in stop_servers(home):
        say(f"{name}: detenido.")
    home.tidy()


def status(environ: Mapping[str, str]) -> int:
    """Say what of a home runs.

    Returns:
        0 when every part that was started works, 1 otherwise.
    """
    home = Home.of(environ)
    endpoint = Endpoint.of(environ)
    if not home.exists():
        say("No hay nada en marcha.")
        return 1
    for name, server in (("PostgreSQL", embedded_postgres(home)), ("Redis", embedded_redis(home))):
        process = server.running()
        say(f"{name}: {f'en marcha (pid {process.pid})' if process else 'no está en marcha'}")
    results = [_say_instance(instance, endpoint) for instance in home.instances()]
    if not results:
        say("CoreC: no está en marcha")
    return 0 if results and all(results) else 1


def _say_instance(instance: Instance, endpoint: Endpoint) -> bool:
    process = instance.pid.running()
    if process is None:
        say(f"CoreC ({instance.id}): terminó sin despedirse; mira {instance.log}")
        return False
    port = instance.port()
    health = endpoint.ask(port) if port is not None else None
    state = "no responde" if health is None else f"{health.status}"
    where = f", {endpoint.url(port)}/health: {state}" if port is not None else ""
    say(f"CoreC ({instance.id}): en marcha (pid {process.pid}){where}")
    return health is not None and health.ok


def _stop_instance(instance: Instance) -> bool:
    process = instance.pid.running()
    if process is None:
        instance.forget()
        return False
    try:
        by = end(process, STOP)
    except TimeoutError as exc:
        raise LauncherError(f"CoreC ({instance.id}) no se detiene: {exc}.") from exc
    instance.forget()
    if by is signal.SIGKILL:
        say(f"CoreC ({instance.id}): no se detuvo en {STOP[0][1]:.0f} s; terminado a la fuerza.")
    else:
        say(f"CoreC ({instance.id}): detenido.")
    return True
