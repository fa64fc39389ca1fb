"""Running psql on the embedded servers, and the environment that they and it get."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.launcher.errors import LauncherError

# All that a server needs. The family's secrets (SMTP_PASSWORD, …) stay out of a process that lives
# long and, started by root, belongs to another account.
_OF_SERVERS = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def without_libpq(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without libpq's variables, which are meant for other servers than ours."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("PG") or name.startswith("PG_")  # PG_COLOR: psql's looks
    }


def server_environ() -> dict[str, str]:
    """The environment for the embedded servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _OF_SERVERS or name.startswith("LC_")
    }


def run_psql(program: Path, dsn: str, options: Sequence[str], sql: str = "") -> str:
    """Run psql without the user's psqlrc, stopping at the first error.

    Args:
        program: psql.
        dsn: where to connect; without a secret, for it stands on the command line.
        options: further options, such as `-f file`.
        sql: what to run, read from standard input.

    Returns:
        What psql printed.

    Raises:
        LauncherError: psql failed; its message is in the text.
    """
    result = subprocess.run(  # noqa: S603 - the wheel's psql, no shell
        [str(program), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, *options],
        input=sql,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=without_libpq(os.environ),
        check=False,
    )
    if result.returncode != 0:
        raise LauncherError(result.stderr.strip() or f"psql terminó con {result.returncode}")
    return result.stdout.strip()
