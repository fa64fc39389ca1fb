"""Which database a name means, for psql."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from src.launcher import binaries
from src.launcher.databases import DATABASES
from src.launcher.errors import LauncherError
from src.launcher.home import Home
from src.launcher.own_database import hidden_secrets, wants_tls


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


def exec_psql(environ: Mapping[str, str], database: str, arguments: Sequence[str]) -> int:
    """Become psql on a database of the user's own.

    Raises:
        LauncherError: there is no such database, nothing runs, or psql can't connect as asked.
    """
    dsn = database_dsn(environ, database)
    program, speaks_tls = binaries.psql_for_others()
    if not speaks_tls and wants_tls(dsn, environ):
        raise LauncherError(
            f"La dirección de {database} pide TLS y el psql incluido no lo habla. Instala el del "
            "sistema (en Debian o Ubuntu: sudo apt install postgresql-client)."
        )
    with hidden_secrets(dsn, environ) as link:
        for descriptor in link.descriptors:
            os.set_inheritable(descriptor, True)
        words = [str(program), "-d", link.conninfo, *arguments]
        os.execve(words[0], words, link.environ)  # noqa: S606 - no shell is wanted
