"""`python -m src.launcher start|stop|psql`: what the scripts call."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

try:
    from src.launcher.connect import exec_psql
    from src.launcher.errors import LauncherError
    from src.launcher.output import complain
    from src.launcher.signals import unwind_on_signals
    from src.launcher.start import run, start
    from src.launcher.stop import stop
except ModuleNotFoundError as exc:
    sys.exit(
        f"Falta el módulo {exc.name}: la instalación está a medias. ./scripts/start.sh la completa."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (130 after Ctrl-C)."""
    args = _arguments(argv)
    unwind_on_signals()
    try:
        return _dispatch(args)
    except LauncherError as exc:
        complain(str(exc))
    except OSError as exc:
        complain(f"No se puede seguir: {exc}")
    except KeyboardInterrupt:
        complain("Interrumpido.")
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
    connect = commands.add_parser("psql", prog="./scripts/psql.sh", help="abre psql")
    connect.add_argument("database")
    connect.add_argument("rest", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def _dispatch(args: argparse.Namespace) -> int:
    match args.command:
        case "start":
            return run(os.environ) if args.foreground else start(os.environ)
        case "stop":
            return stop(os.environ, args.instance)
        case _:
            return exec_psql(os.environ, args.database, args.rest)


if __name__ == "__main__":
    sys.exit(main())
