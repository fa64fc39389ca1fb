"""The user's own databases: reached as main.py reaches them, without a secret in a process list."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from src.launcher.errors import LauncherError

# Of libpq's variables those that lead astray, or break, a connection to the embedded server, whose
# address says who and where but nothing of these.
ASTRAY = (
    *("PGSERVICE", "PGHOSTADDR", "PGOPTIONS", "PGTARGETSESSIONATTRS"),
    *("PGREQUIREAUTH", "PGREQUIREPEER", "PGCHANNELBINDING", "PGGSSENCMODE"),
    *("PGSSLNEGOTIATION", "PGSSLCERTMODE", "PGMINPROTOCOLVERSION"),
)
_SERVICE = "corec_launcher"
CONNECT_SECONDS = 10


def wants_tls(dsn: str, environ: Mapping[str, str]) -> bool:
    """Whether an address insists on TLS.

    Raises:
        LauncherError: the DSN is none.
    """
    mode = _parsed(dsn).get("sslmode") or environ.get("PGSSLMODE")
    return mode in {"require", "verify-ca", "verify-full"}


@dataclass(frozen=True)
class Connection:
    """How to start a libpq program so that a process list shows no secret.

    Attributes:
        conninfo: what may stand on the command line.
        environ: the environment.
        descriptors: what the program must inherit.
    """

    conninfo: str
    environ: dict[str, str]
    descriptors: tuple[int, ...] = ()


@contextmanager
def hidden_secrets(dsn: str, environ: Mapping[str, str]) -> Iterator[Connection]:
    """Take the secrets out of a DSN: every user of a machine sees command lines.

    Yields:
        The connection; its descriptors are open for as long as this lasts.

    Raises:
        LauncherError: the DSN is none, or holds a secret that can't be handed on.
    """
    parts = _parsed(dsn)
    password, key_password = parts.pop("password", None), parts.pop("sslpassword", None)
    own = dict(environ)
    if password is not None:
        own["PGPASSWORD"] = password
    if key_password is None:
        yield Connection(dsn if password is None else make_dsn(**parts), own)
        return
    # libpq has no variable for this one, so it goes into a service file, which has no name in any
    # folder: the program inherits it, and it is gone with the program.
    _check_service(parts, own, key_password)
    with tempfile.TemporaryFile("w", encoding="utf-8") as service:
        service.write(f"[{_SERVICE}]\nsslpassword={key_password}\n")
        service.flush()
        service.seek(0)
        own["PGSERVICEFILE"] = f"/dev/fd/{service.fileno()}"
        yield Connection(make_dsn(**parts, service=_SERVICE), own, (service.fileno(),))


def _parsed(dsn: str) -> dict[str, str]:
    try:
        return dict(parse_dsn(dsn))
    except psycopg2.ProgrammingError:
        # Its text may quote the password.
        raise LauncherError(
            "La dirección de PostgreSQL en COREC_DB_DSN o ALERT_DB_DSN no se entiende; se espera "
            "postgresql://usuario@servidor/base o «host=servidor dbname=base user=usuario»."
        ) from None


def _check_service(parts: Mapping[str, str], environ: Mapping[str, str], secret: str) -> None:
    named = parts.get("service") or environ.get("PGSERVICE")
    if named:
        raise LauncherError(
            f"La dirección de PostgreSQL lleva sslpassword y además el servicio «{named}». Escribe "
            "sslpassword en ese servicio, en el archivo de servicios de libpq, y quítalo de "
            "COREC_DB_DSN o ALERT_DB_DSN."
        )
    if "\n" in secret or secret != secret.rstrip():
        raise LauncherError(
            "sslpassword: se encontró un salto de línea o un blanco al final, que libpq no admite. "
            "Cambia la clave del archivo de sslkey."
        )


def run_file(dsn: str, file: Path, variable: str) -> None:
    """Run an SQL file on the user's own server as main.py will connect to it.

    Not with psql: the driver is main.py's, so that what works here works there, and it speaks TLS,
    which the wheel's psql does not.

    Args:
        dsn: the server and database.
        file: SQL without psql's backslash commands.
        variable: where the DSN comes from.

    Raises:
        LauncherError: the server can't be reached, or a statement failed.
    """
    try:
        parts: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **_parsed(dsn)}
        link = psycopg2.connect(**parts)
        try:
            link.autocommit = True
            with link.cursor() as cursor:
                cursor.execute(file.read_text(encoding="utf-8"))
        finally:
            link.close()
    except psycopg2.Error as exc:
        told = str(exc).strip()
        if isinstance(exc, psycopg2.errors.InsufficientPrivilege):
            told += (
                f"\nEl rol de {variable} no puede: que las haga una vez su dueño, con psql "
                f"-f {file}. Después basta un rol que solo trabaje con ellas (docs/security.md)."
            )
        raise LauncherError(
            f"No se pueden preparar las tablas con {file} en la base de {variable}:\n{told}"
        ) from None
