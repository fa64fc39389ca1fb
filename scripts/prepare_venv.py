"""Make or mend `.venv` and install into it: `python prepare_venv.py run|test|spec`.

`spec` is `test` with the exact versions of the specification, in `.venv-spec`.

Run by lib.sh with the machine's own Python, before anything is installed: standard library only.
Says nothing and takes a moment when all is there. Exit codes: 0 ready, 1 a fault that was told.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SPEC = sys.argv[1:] == ["spec"]
VENV = PROJECT / (".venv-spec" if SPEC else ".venv")
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
# Present while an installation runs: where it is found later, one was cut short.
UNFINISHED = VENV / ".installing"
CONSTRAINTS = "constraints-spec.txt" if SPEC else "constraints.txt"
_TEST = ["requirements-test.txt", "requirements.txt", "requirements-embedded.txt"]
FILES = {
    "run": ["requirements.txt", "requirements-embedded.txt"],
    "test": _TEST,
    "spec": _TEST,
}
_NETWORK_SIGNS = (
    "Failed to establish a new connection",
    "NewConnectionError",
    "Connection broken",
    "ConnectTimeoutError",
    "ProxyError",
    "ReadTimeoutError",
    "Temporary failure in name resolution",
    "NameResolutionError",
    "SSLError",
)


class PrepareError(Exception):
    """A fault, as a Spanish sentence for the person at the keyboard."""


def main(purpose: str) -> int:
    """Prepare the environment for `run` or `test`; returns the exit code."""
    try:
        prepare(purpose)
    except PrepareError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except OSError as exc:
        sys.stderr.write(f"No se puede preparar {VENV}: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Instalación interrumpida; el próximo arranque la repite.\n")
        return 130
    return 0


def prepare(purpose: str) -> None:
    """Bring `.venv` up to what the requirement files ask for.

    Raises:
        PrepareError: it can't be done; the text says why and what helps.
    """
    if _ready(purpose):  # without the lock: whoever may only read the project can start it, too
        return
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Hay otra instalación en marcha; espero a que acabe…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if _ready(purpose):
            return
        version = _usable() or _create(lock.fileno())
        _install(purpose, lock.fileno())
        _stamp(purpose).write_text(_hash(purpose, version), encoding="ascii")


def _ready(purpose: str) -> bool:
    version = _usable()
    # What tests need includes what a run needs.
    return version is not None and any(_stamped(enough, version) for enough in (purpose, "test"))


def _stamp(purpose: str) -> Path:
    return VENV / f".stamp-{purpose}"


def _stamped(purpose: str, version: str) -> bool:
    stamp = _stamp(purpose)
    return stamp.exists() and stamp.read_text(encoding="ascii") == _hash(purpose, version)


def _usable() -> str | None:
    """The version of the Python in `.venv`; None when it is half-made, broken or too old."""
    return None if UNFINISHED.exists() else _venv_version()


def _venv_version() -> str | None:
    if not os.access(PYTHON, os.X_OK):
        return None
    # A system Python that was upgraded leaves the packages behind in the old version's folder.
    code = (
        "import sys, importlib.util as u; sys.version_info >= (3, 11) and u.find_spec('pip') "
        "and print('.'.join(map(str, sys.version_info[:3])))"
    )
    told = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return told.stdout.strip() or None


def _create(lock: int) -> str:
    for module in ("venv", "ensurepip"):
        try:
            importlib.import_module(module)
        except ImportError:
            here = f"{sys.version_info[0]}.{sys.version_info[1]}"
            raise PrepareError(
                f"A este Python {here} ({sys.executable}) le falta el módulo {module}. En Debian o "
                f"Ubuntu: sudo apt install python{here}-venv (o python3-venv). Después repite la "
                "orden, o indica otro Python con PYTHON=/ruta/a/python3."
            ) from None
    _clear()
    UNFINISHED.touch()
    _say(f"Creo el entorno de Python en {VENV}…")
    # The interpreter behind a venv that may be active right now, and may be the one to mend.
    base = getattr(sys, "_base_executable", "") or sys.executable
    if _logged([base, "-m", "venv", str(VENV)], lock) != 0:
        raise PrepareError(f"No se puede crear el entorno de Python:\n{_log_end()}")
    version = _venv_version()
    if version is None:
        raise PrepareError(f"El entorno de Python recién creado no funciona; mira {LOG}.")
    return version


def _clear() -> None:
    """Remove a half-made or unusable environment, but not its lock.

    Raises:
        PrepareError: the folder holds something else than an environment.
    """
    entries = [entry for entry in VENV.iterdir() if entry.name != ".lock"]
    known = (VENV / "pyvenv.cfg").exists() or UNFINISHED.exists()
    if entries and not known:
        raise PrepareError(f"La carpeta {VENV} no es un entorno de Python. Bórrala o muévela.")
    if entries:
        _say("El entorno de Python está a medias o ya no sirve; lo hago de nuevo.")
    # The mark goes last: a removal that is cut short must be known as such, too.
    for entry in sorted(entries, key=lambda path: path == UNFINISHED):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _install(purpose: str, lock: int) -> None:
    _say("Instalo lo necesario (solo la primera vez o tras un cambio; puede tardar un minuto)…")
    UNFINISHED.touch()
    # What is installed now is none of what they say.
    for stamp in VENV.glob(".stamp-*"):
        stamp.unlink()
    LOG.unlink(missing_ok=True)
    wanted = [part for name in _chosen(purpose) for part in ("-r", str(PROJECT / name))]
    code = _logged(
        [
            *(str(PYTHON), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
            *(*wanted, "-c", str(PROJECT / CONSTRAINTS)),
        ],
        lock,
    )
    if code < 0:
        raise PrepareError(f"pip murió por la señal {-code}; repite la orden. Detalles: {LOG}")
    UNFINISHED.unlink()
    if code == 0:
        return
    told = LOG.read_text(encoding="utf-8", errors="replace")
    if any(sign in told for sign in _NETWORK_SIGNS):
        raise PrepareError(
            "pip no llega al servidor de paquetes. Comprueba la conexión a internet o el proxy y "
            f"repite la orden. Detalles: {LOG}"
        )
    if "(from versions: none)" in told:
        raise PrepareError(
            "pip no encuentra los paquetes: o no llega a su servidor (comprueba la conexión a "
            "internet o el proxy), o no los hay para este Python y esta máquina. "
            f"Detalles: {LOG}\n{_log_end()}"
        )
    raise PrepareError(f"pip no pudo instalar lo necesario. Detalles: {LOG}\n{_log_end()}")


def _chosen(purpose: str) -> list[str]:
    # requirements-test.txt includes the others itself.
    return FILES[purpose] if purpose == "run" else FILES[purpose][:1]


def _logged(command: list[str], lock: int) -> int:
    # PIP_USER=1 of a user's pip.conf or shell is refused inside a venv.
    environ = {**os.environ, "PIP_USER": "0"}
    with LOG.open("ab") as log:
        return subprocess.run(  # noqa: S603 - our own commands, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            # The child shares the lock: when this process is killed, the next start waits for it.
            pass_fds=(lock,),
            check=False,
        ).returncode


def _log_end() -> str:
    return "\n".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _hash(purpose: str, version: str) -> str:
    digest = hashlib.sha256(version.encode())
    for name in [*FILES[purpose], CONSTRAINTS]:
        digest.update(b"\0" + name.encode() + b"\0" + (PROJECT / name).read_bytes())
    return digest.hexdigest()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
