"""The machine: Python, libraries, disk, the folder of the state, files with secrets."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...home import PLUGIN, ROOT
from .finding import Finding, fault, good, warning

MINIMUM = (3, 11)
_LITTLE = 1 << 30  # bytes free, below which people are warned
_NOTHING = 100 << 20  # bytes free, with which PostgreSQL may stop any moment
_MANIFEST = PLUGIN / "plugin.json"
_SECRET = re.compile(r"password|secret|token|webhook|dsn|\burl\b", re.IGNORECASE)


def check_python(version: tuple[int, int]) -> Finding:
    """Says whether a version of Python is new enough."""
    found = ".".join(map(str, version))
    if version >= MINIMUM:
        return good("Python", found)
    wanted = ".".join(map(str, MINIMUM))
    return fault(
        "Python",
        f"se encontró {found}; se espera {wanted} o más nuevo",
        "instala uno más nuevo (sudo apt install python3 python3-venv), borra .venv y arranca otra "
        "vez: ./scripts/start.sh",
    )


def check_libraries(names: Iterable[str] | None = None) -> Finding:
    """Says whether the plugin's libraries are installed; by default those of plugin.json."""
    if names is None:
        names = json.loads(_MANIFEST.read_text(encoding="utf-8"))["dependencies"]
    missing = [name for name in names if not _is_installed(name)]
    if not missing:
        return good("bibliotecas", "están todas")
    return fault(
        "bibliotecas",
        f"faltan: {', '.join(missing)}",
        "./scripts/start.sh las instala; o pip install -r requirements.txt -c constraints.txt",
    )


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_home(home: Path) -> Iterator[Finding]:
    """Says whether the folder of the state can be written, by its owner alone, and has room."""
    part = f"carpeta {home}"
    if not home.exists():
        yield warning(part, "todavía no existe", "la crea el primer arranque: ./scripts/start.sh")
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if not os.access(home, os.W_OK | os.X_OK):
        yield fault(
            part,
            f"no se puede escribir en ella (modo {mode:04o})",
            f"sudo chown -R \"$USER\" '{home}', o indica otra con COREC_HOME",
        )
    elif mode & 0o022:
        yield fault(
            part, f"otros usuarios pueden cambiarla (modo {mode:04o})", f"chmod 700 '{home}'"
        )
    else:
        yield good(part, f"modo {mode:04o}")
    yield check_room(home, shutil.disk_usage(home).free)


def check_room(folder: Path, free: int) -> Finding:
    """Says whether so many free bytes are enough."""
    said = f"quedan {free / (1 << 30):.1f} GiB en {folder}"
    if free >= _LITTLE:
        return good("disco", said)
    mend = "libera sitio: los registros están en logs/, y config.retention borra alertas antiguas"
    if free < _NOTHING:
        return fault("disco", f"{said}: PostgreSQL se detendrá", mend)
    return warning("disco", said, mend)


def check_secret_files(file: Path, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Says which files with secrets other users can read.

    Args:
        file: alert_manager.yaml.
        raw: its content, before values of the environment and of files were put in.
    """
    paths = [Path(text.removeprefix("file:")) for text in _texts(raw) if text.startswith("file:")]
    paths += [path for path in (ROOT / ".env",) if path.exists()]
    if any(_literal_secrets(raw)):
        paths.append(file)
    seen = 0
    for path in dict.fromkeys(paths):
        found = _check_mode(path)
        if found is None:
            seen += 1
        else:
            yield found
    yield good("secretos", f"archivos que solo lee su dueño: {seen}")


def _check_mode(path: Path) -> Finding | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return fault(
            "secretos",
            f"no se puede leer {path}: {error.strerror}",
            "créalo, o corrige la ruta en alert_manager.yaml",
        )
    if not os.access(path, os.R_OK):
        return fault("secretos", f"no se puede leer {path}", f"sudo chown \"$USER\" '{path}'")
    if mode & 0o077:
        said = f"{path} tiene un secreto y lo pueden leer otros usuarios (modo {mode:04o})"
        return fault("secretos", said, f"chmod 600 '{path}'")
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    children = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | list):
        for child in children:
            yield from _texts(child)


def _literal_secrets(value: Any, name: str = "") -> Iterator[str]:
    """Yields the names of secrets that the file itself holds."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _literal_secrets(child, str(key))
    elif isinstance(value, list):
        for child in value:
            yield from _literal_secrets(child, name)
    elif isinstance(value, str) and _SECRET.search(name):
        literal = re.sub(r"\$\{\w+(:-)?\}", "", value)
        if literal and not value.startswith(("file:", "${")):
            yield name
