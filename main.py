"""Start CoreC v4: `python main.py [--config corec.yaml] [--instance-id corec1]`.

Exit codes: 0 stopped by a signal, 1 a fault of the host, 2 a wrong configuration, 3 stopped by a
signal and cut off, because something did not end (the log says what).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from src.utils.config import DEFAULT_CONFIG
from src.utils.config_errors import ConfigError
from src.utils.forced_exit import exit_after
from src.utils.garbage import look_seldom
from src.utils.logs import LOG_FILE_ENV, setup_logging
from src.utils.state_file import write_state
from src.utils.stop_signals import StopSignals

_LOG = logging.getLogger("main")

EXIT_OK, EXIT_FAULT, EXIT_CONFIG, EXIT_FORCED = 0, 1, 2, 3
# Nothing may keep the process after the ordered stop (8.9 s at its worst): neither a plugin that
# blocks the loop nor a thread in a blocking call, which Python waits for at its end.
LAST_RESORT_SECONDS = 9.2
WATCHDOG_SECONDS = 9.8
# A thread that connects to a server which does not answer ends by itself, after 5 s.
THREADS_SECONDS = 5.5
START_CANCEL_SECONDS = 4.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the host until a signal; returns the exit code."""
    args = _arguments(argv)
    try:
        setup_logging(os.environ)
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_CONFIG
    try:
        return asyncio.run(_run(args.config, args.instance_id))
    except ConfigError as exc:
        _LOG.critical("configuración incorrecta: %s", exc)
        if os.environ.get(LOG_FILE_ENV):  # else the console has just shown it
            sys.stderr.write(f"configuración incorrecta: {exc}\n")
        return EXIT_CONFIG
    except Exception:  # noqa: BLE001 - whatever it is, it goes to the log
        _LOG.critical("CoreC no puede seguir", exc_info=True)
        return EXIT_FAULT


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py", description="CoreC v4")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="corec.yaml (por defecto: %(default)s)"
    )
    parser.add_argument(
        "--instance-id", default=None, help="manda sobre INSTANCE_ID y sobre el archivo"
    )
    return parser.parse_args(argv)


async def _run(config_path: Path, given_instance: str | None) -> int:
    nucleus = CoreCNucleus(config_path, given_instance)
    stop = _stop_at_a_signal()
    service = asyncio.create_task(_serve(nucleus), name="servicio")
    stopped = asyncio.create_task(stop.wait(), name="señal")
    await asyncio.wait({service, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        exit_after(LAST_RESORT_SECONDS, _fault_code(service), asyncio.get_running_loop())
    if not service.done() and not nucleus.modulos:  # still starting
        service.cancel()
        await asyncio.wait({service}, timeout=START_CANCEL_SECONDS)
    await nucleus.detener()
    if not stop.is_set():
        await service  # raises what ended it
    return EXIT_OK


def _fault_code(service: asyncio.Task[None]) -> int:
    fault = None if service.cancelled() else service.exception()
    if fault is None:
        return EXIT_FORCED
    return EXIT_CONFIG if isinstance(fault, ConfigError) else EXIT_FAULT


async def _serve(nucleus: CoreCNucleus) -> None:
    await nucleus.inicializar()
    instance_id = nucleus.instance_id
    if (manager := nucleus.plugin_manager) is not None:
        write_state(
            os.environ,
            instance_id=instance_id,
            plugins=tuple(manager.plugins),
            fallos=manager.fallos,
        )
    await nucleus.registrar_celu_entidad(
        CeluEntidadCoreC(
            f"nano_alert_{instance_id}",
            nucleus.get_procesador("alert_data"),
            "alert_data",
            5.0,
            nucleus.db_config,
            instance_id=instance_id,
        )
    )
    look_seldom()  # all plugins are started
    await nucleus.iniciar()


def _stop_at_a_signal() -> asyncio.Event:
    """Hear SIGTERM and Ctrl-C from now on; from the first one on, the end is a matter of time."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_stop(number: signal.Signals) -> None:
        # C code that keeps the GIL stops the timer's thread, but not this one. Before anything is
        # told to stop, or what then keeps the GIL keeps us from getting here.
        faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True)
        exit_after(LAST_RESORT_SECONDS, EXIT_FORCED, loop)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        _LOG.info("%s: se detiene CoreC (en menos de 10 s)", number.name)

    StopSignals(on_stop).listen()
    return stop


def run() -> NoReturn:
    """Run the host, and end the process with its exit code."""
    exit_code = main()
    exit_after(THREADS_SECONDS, exit_code or EXIT_FORCED)
    sys.exit(exit_code)


if __name__ == "__main__":
    run()
