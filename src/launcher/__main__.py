"""`python -m src.launcher start|stop|status|psql`: what the scripts call."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

try:
    from src.launcher.connect import exec_psql, print_dsn
    from src.launcher.errors import LauncherError
    from src.launcher.output import complain
    from src.launcher.start import run, start
    from src.launcher.stop import status, stop
except ModuleNotFoundError as exc:
    sys.exit(
        f"Falta el módulo {exc.name}: la instalación está a medias. ./scripts/start.sh la completa."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (130 after Ctrl-C)."""
    args = _arguments(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unwind)
    try:
        return _dispatch(args)
    except LauncherError as exc:
        complain(str(exc))
    except OSError as exc:
        complain(f"No se puede seguir: {exc}")
    except KeyboardInterrupt:
        complain("Interrumpido; lo que este arranque había empezado queda detenido.")
        return 130
    return 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/start.sh", description="CoreC v4")
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("start", prog="./scripts/start.sh", help="arranca")
    begin.add_argument(
        "--foreground", action="store_true", help="en primer plano; Ctrl-C lo detiene todo"
    )
    begin.add_argument("--docker", action="store_true", help="con docker compose")
    finish = commands.add_parser("stop", prog="./scripts/stop.sh", help="detiene")
    finish.add_argument("--instance", help="solo esta instancia; los servidores siguen")
    commands.add_parser("status", help="dice qué está en marcha")
    for name in ("psql-dsn", "psql"):
        connect = commands.add_parser(name)
        connect.add_argument("database")
        connect.add_argument("rest", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def _dispatch(args: argparse.Namespace) -> int:
    match args.command:
        case "start":
            return run(os.environ) if args.foreground else start(os.environ)
        case "stop":
            return stop(os.environ, args.instance)
        case "status":
            return status(os.environ)
        case "psql":
            return exec_psql(os.environ, args.database, args.rest)
        case _:
            return print_dsn(os.environ, args.database)


def _unwind(number: int, frame: FrameType | None) -> None:
    # An exception, so that what was started is stopped on the way out, once and undisturbed.
    del frame
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
