"""Which OS account PostgreSQL runs as: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from src.launcher.errors import LauncherError

_UNPRIVILEGED = "nobody"
# Lets the server's account walk into a private project directory, where it can't without. This is a
# right to read every file of the machine, so it is the second choice. no_setuid_fixup keeps the
# capability when the uid changes.
_REACH = (
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
    "--securebits=+no_setuid_fixup",
)


@dataclass(frozen=True)
class Account:
    """An account for the server.

    Attributes:
        uid: its user id.
        gid: its group id.
        prefix: what goes before a command so that it runs as this account.
    """

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or directory, where it is not yet."""
        info = path.lstat()
        if (info.st_uid, info.st_gid) != (self.uid, self.gid) and os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def current_user() -> str:
    """The name of the OS user, which peer authentication compares.

    Raises:
        LauncherError: the user id has no name.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise LauncherError(
            f"El usuario con uid {os.geteuid()} no tiene nombre en /etc/passwd y PostgreSQL no "
            "arranca así. Usa un usuario con nombre, o tus propios servidores con COREC_DB_DSN y "
            "ALERT_DB_DSN."
        ) from None


def server_account(data: Path, program: Path) -> Account:
    """Who runs the server: the present user, or for root the owner of the data, or nobody.

    Args:
        data: the data directory; it exists.
        program: the server, which the account must be able to run.

    Raises:
        LauncherError: somebody else owns the data, or the account can't reach data and program.
    """
    owner = data.stat().st_uid
    if os.geteuid() != 0:
        if owner != os.geteuid():
            raise LauncherError(
                f"Los datos de {data} son de «{_name(owner)}» y tú eres «{current_user()}». "
                f"Arranca como «{_name(owner)}», o elige otra carpeta con COREC_HOME."
            )
        return Account(os.geteuid(), os.getegid())
    return _for_root(owner, data, program)


def _for_root(owner: int, data: Path, program: Path) -> Account:
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise LauncherError(
            f"PostgreSQL no arranca como root y no existe la cuenta {owner or _UNPRIVILEGED!r} "
            "para él. Arranca como un usuario normal."
        ) from None
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LauncherError(
            "PostgreSQL no arranca como root y falta el programa setpriv para cambiar de cuenta. "
            "Arranca como un usuario normal, o instala util-linux."
        )
    who = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
    for reach in ((), _REACH):
        prefix = (setpriv, *who, *reach, "--")
        account = Account(entry.pw_uid, entry.pw_gid, prefix)
        account.give(data)
        if _reaches(account, data, program):
            return account
    raise LauncherError(
        f"PostgreSQL no arranca como root; como «{entry.pw_name}» no llega a {data} o a {program}. "
        "Mueve el proyecto a una carpeta por la que todos puedan pasar (por ejemplo en /opt), "
        "o arranca como un usuario normal."
    )


def _reaches(account: Account, data: Path, program: Path) -> bool:
    probe = 'cd -- "$2" && exec "$1" --version'
    result = subprocess.run(  # noqa: S603 - fixed script, paths as arguments
        [*account.prefix, "/bin/sh", "-c", probe, "sh", str(program), str(data)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    return result.returncode == 0


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
