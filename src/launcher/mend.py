"""`start` where CoreC runs already: bring back the servers that it lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

import psutil

from src.launcher.health import Endpoint, Health
from src.launcher.home import Instance
from src.launcher.host import HEALTHY_SECONDS
from src.launcher.output import say
from src.launcher.processes import ProcessId, wait_until
from src.launcher.services import Services

_SERVERS = {"corec_db", "alert_db", "redis"}  # parts of /health that are waited for


def mend(instance: Instance, process: ProcessId, undo: ExitStack) -> int:
    """Start the embedded servers that a running instance misses, and tell how it is.

    Args:
        instance: the instance.
        process: its main.py, which connects again by itself.
        undo: gets the stop of every server that does not come up.

    Returns:
        The exit code: 0 when it does its job.

    Raises:
        LauncherError: a server does not come up.
    """
    environ = _environ_of(process)
    services, endpoint = Services.of(instance.home, environ), Endpoint.of(environ)
    if instance.pid.running() is None:
        instance.pid.write(process)
    missing = services.missing()
    if not missing:
        return _report(instance, endpoint, _health(instance, endpoint), "ya está en marcha")
    names = " y ".join(missing)
    say(f"CoreC ({instance.id}) está en marcha, pero {names} no; se arranca de nuevo…")
    services.start_embedded(undo)
    undo.pop_all()
    health: Health | None = None

    def healthy() -> bool:
        nonlocal health
        health = _health(instance, endpoint)
        return health is not None and health.works and not _SERVERS & health.wrong.keys()

    wait_until(healthy, HEALTHY_SECONDS)
    return _report(instance, endpoint, health, "sigue en marcha")


def _health(instance: Instance, endpoint: Endpoint) -> Health | None:
    port = instance.port()
    return None if port is None else endpoint.ask(port)


def _report(instance: Instance, endpoint: Endpoint, health: Health | None, how: str) -> int:
    port = instance.port()
    if health is not None and health.works and port is not None:
        say(f"CoreC ({instance.id}) {how} y {health.condition}: {endpoint.url(port)}/health")
        for line in health.complaints:
            say(line)
        return 0
    state = (
        f"/health responde {health.status}:\n{health.body}" if health else "/health no responde."
    )
    say(
        f"CoreC ({instance.id}) {how}, pero {state}\n"
        f"Mira {instance.log}, o detenlo con ./scripts/stop.sh y arranca de nuevo."
    )
    return 1


def _environ_of(process: ProcessId) -> Mapping[str, str]:
    """The environment that an instance was started with: it, not ours, names its servers."""
    try:
        return psutil.Process(process.pid).environ()
    except psutil.Error:
        return os.environ
