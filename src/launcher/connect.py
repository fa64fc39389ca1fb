"""Which database a name means, for psql."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from src.launcher import binaries
from src.launcher.errors import LauncherError
from src.launcher.home import Home
from src.launcher.output import say
from src.launcher.psql import hide_password
from src.launcher.services import DATABASES


def database_dsn(environ: Mapping[str, str], database: str) -> str:
    """The DSN of corec_db or alert_db: the user's own over the running home's.

    Raises:
        LauncherError: there is no such database, or nothing runs.
    """
    for spec in DATABASES:
        if spec.name == database:
            dsn = environ.get(spec.variable) or running_environment(environ).get(spec.variable)
            if dsn:
                return dsn
            raise LauncherError("CoreC no está en marcha. Arranca con ./scripts/start.sh.")
    names = " o ".join(spec.name for spec in DATABASES)
    raise LauncherError(f"Se encontró la base «{database}»; se espera {names}.")


def running_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the last start wrote down for the scripts; empty when nothing runs."""
    try:
        text = Home.of(environ).environment_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def print_dsn(environ: Mapping[str, str], database: str) -> int:
    """Print a database's DSN; returns the exit code.

    Raises:
        LauncherError: there is no such database, or nothing runs.
    """
    say(database_dsn(environ, database))
    return 0


def exec_psql(environ: Mapping[str, str], database: str, arguments: Sequence[str]) -> int:
    """Become psql on a database of the user's own.

    Raises:
        LauncherError: there is no such database, or nothing runs.
    """
    dsn, own = hide_password(database_dsn(environ, database), environ)
    program = str(binaries.psql())
    os.execve(program, [program, "-d", dsn, *arguments], own)  # noqa: S606 - no shell is wanted
