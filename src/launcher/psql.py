"""Running psql: on the right server, without a password on its command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn, parse_dsn

from src.launcher.errors import LauncherError

# Variables of the user's shell that would send libpq elsewhere than the DSN says.
_FOREIGN = (
    *("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGREQUIREAUTH", "PGCHANNELBINDING"),
    *("PGOPTIONS", "PGTARGETSESSIONATTRS", "PGCLIENTENCODING"),
)
# All that a server needs. The family's secrets (SMTP_PASSWORD, …) stay out of a process that lives
# long and, started by root, belongs to another account.
_OF_SERVERS = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def libpq_environ() -> dict[str, str]:
    """The environment for our own libpq programs, without what would lead them astray."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def server_environ() -> dict[str, str]:
    """The environment for the embedded servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _OF_SERVERS or name.startswith("LC_")
    }


def hide_password(dsn: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Move the password of a DSN to the environment: every user of a machine sees command lines.

    Raises:
        LauncherError: the DSN is none.
    """
    try:
        parts = parse_dsn(dsn)
    except ProgrammingError:
        # Its text may quote the password.
        raise LauncherError(
            "La dirección de PostgreSQL en COREC_DB_DSN o ALERT_DB_DSN no se entiende; se espera "
            "postgresql://usuario@servidor/base o «host=servidor dbname=base user=usuario»."
        ) from None
    password = parts.pop("password", None)
    if password is None:
        return dsn, dict(environ)
    return make_dsn(**parts), {**environ, "PGPASSWORD": password}


def run_psql(
    program: Path,
    dsn: str,
    options: Sequence[str],
    sql: str = "",
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run psql without the user's psqlrc, stopping at the first error.

    Args:
        program: psql.
        dsn: where to connect.
        options: further options, such as `-f file`.
        sql: what to run, read from standard input.
        environ: psql's environment; by default ours without what would lead it elsewhere.

    Returns:
        What psql printed.

    Raises:
        LauncherError: psql failed; its message is in the text.
    """
    dsn, environ = hide_password(dsn, libpq_environ() if environ is None else environ)
    result = subprocess.run(  # noqa: S603 - the wheel's psql, no shell
        [str(program), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, *options],
        input=sql,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environ,
        check=False,
    )
    if result.returncode != 0:
        raise LauncherError(result.stderr.strip() or f"psql terminó con {result.returncode}")
    return result.stdout.strip()
