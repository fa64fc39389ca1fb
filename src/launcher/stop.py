"""`stop`: end what a home runs."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from src.launcher.errors import LauncherError
from src.launcher.home import Home, Instance
from src.launcher.host import STOP
from src.launcher.output import say
from src.launcher.processes import end
from src.launcher.services import stop_servers


def stop(environ: Mapping[str, str], only: str | None = None) -> int:
    """Stop the home's instances and then its servers; one that does not end spares no other.

    Args:
        environ: names the home.
        only: stop this instance alone; the servers stay.

    Returns:
        The exit code.

    Raises:
        LauncherError: a process does not end, or the instance's name can't be one.
    """
    home = Home.of(environ)
    chosen = home.instance(only) if only is not None else None
    if not home.exists():
        say("No hay nada en marcha.")
        return 0
    with home.locked():
        if chosen is not None:
            if not _stop_instance(chosen):
                say(f"La instancia {only} no está en marcha.")
            return 0
        stopped, faults = False, []
        for instance in home.instances():
            try:
                stopped |= _stop_instance(instance)
            except LauncherError as exc:
                faults.append(str(exc))
        stopped |= _stop_servers(home, faults)
    say("Todo detenido." if stopped else "No hay nada en marcha.")
    return 0


def stop_shared(home: Home) -> None:
    """Stop the servers unless an instance of the home still runs.

    Raises:
        LauncherError: a server does not end.
    """
    if not any(instance.running() for instance in home.instances()):
        _stop_servers(home, [])


def _stop_servers(home: Home, faults: list[str]) -> bool:
    """Stop the servers; says whether one ran.

    Args:
        home: whose servers.
        faults: what went wrong before.

    Raises:
        LauncherError: with all faults, those of before and those of a server that does not end.
    """
    names, more = stop_servers(home)
    for name in names:
        say(f"{name}: detenido.")
    if faults or more:
        raise LauncherError("\n".join([*faults, *more]))
    home.tidy()
    return bool(names)


def _stop_instance(instance: Instance) -> bool:
    process = instance.running()
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
