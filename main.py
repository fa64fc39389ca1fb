"""Start CoreC v4: `python main.py [--config corec.yaml] [--instance-id corec1]`.

Exit codes: 0 stopped by a signal, 1 a fault of the host, 2 a wrong configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from src.utils.config import DEFAULT_CONFIG
from src.utils.config_errors import ConfigError
from src.utils.logs import LOG_FILE_ENV, setup_logging

_LOG = logging.getLogger("main")

EXIT_OK, EXIT_FAULT, EXIT_CONFIG = 0, 1, 2
# Nothing may keep the process after the ordered stop (8.9 s at its worst): neither a plugin that
# blocks the loop nor a thread in a blocking call, which Python waits for at its end.
LAST_RESORT_SECONDS = 9.2
THREADS_SECONDS = 1.0
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
    stop = asyncio.Event()
    _handle_signals(stop)
    service = asyncio.create_task(_serve(nucleus), name="servicio")
    stopped = asyncio.create_task(stop.wait(), name="señal")
    await asyncio.wait({service, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    _arm_last_resort(_exit_code(service, stop), LAST_RESORT_SECONDS)
    if not service.done() and not nucleus.modulos:  # still starting
        service.cancel()
        await asyncio.wait({service}, timeout=START_CANCEL_SECONDS)
    await nucleus.detener()
    if not stop.is_set():
        await service  # raises what ended it
    return EXIT_OK


def _exit_code(service: asyncio.Task[None], stop: asyncio.Event) -> int:
    if stop.is_set() or not service.done() or service.cancelled():
        return EXIT_OK
    fault = service.exception()
    if fault is None:
        return EXIT_OK
    return EXIT_CONFIG if isinstance(fault, ConfigError) else EXIT_FAULT


async def _serve(nucleus: CoreCNucleus) -> None:
    await nucleus.inicializar()
    instance_id = nucleus.instance_id
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
    await nucleus.iniciar()


def _handle_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            _LOG.warning("segunda señal: se termina ya")
            os._exit(128 + number)
        _LOG.info("%s: se detiene CoreC", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def _arm_last_resort(code: int, seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    exit_code = main()
    _arm_last_resort(exit_code, THREADS_SECONDS)
    sys.exit(exit_code)
