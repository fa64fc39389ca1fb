"""plugin.json: read, and every fault named in Spanish."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_DISTRIBUTION = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_MAIN_CLASS = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
_SAME_MODULE = {"psycopg2-binary": "psycopg2"}
_TEXTS = ("name", "version", "description", "type", "main_class")
_LISTS = ("channels", "dependencies")
_OPTIONAL = ("config_file", "config_env")


class PluginError(RuntimeError):
    """A plugin can't be used; the text says what was found and what is expected."""


@dataclass(frozen=True)
class PluginManifest:
    """What a plugin says about itself.

    Attributes:
        channels: the channels that it owns.
        dependencies: Python distributions, with or without a version.
        config_file: relative to the project's root; empty for none.
        config_env: the environment variable that names another file instead; empty for none.
        main_class: dotted path relative to the plugins folder, down to the class.
        critical: its channels get mirrors, and a wrong configuration stops the host's start.
    """

    name: str
    version: str
    description: str
    type: str
    channels: tuple[str, ...]
    dependencies: tuple[str, ...]
    config_file: str
    config_env: str
    main_class: str
    critical: bool


def read_manifest(path: Path) -> PluginManifest:
    """Read and check one plugin.json.

    Raises:
        PluginError: with every fault of the file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as exc:
        where = f"línea {exc.lineno}, columna {exc.colno}"
        raise PluginError(f"plugin.json no es JSON válido ({where})") from None
    except UnicodeDecodeError:
        raise PluginError("plugin.json no es texto UTF-8") from None
    except OSError as exc:
        raise PluginError(f"plugin.json no se puede leer ({exc.strerror})") from None
    if not isinstance(raw, dict):
        raise PluginError(f"plugin.json: se encontró {_kind(raw)}; se espera un objeto")
    if faults := _faults(raw):
        raise PluginError("plugin.json: " + "; ".join(faults))
    return PluginManifest(
        **{key: raw[key] for key in (*_TEXTS, "critical")},
        channels=tuple(raw["channels"]),
        dependencies=tuple(raw["dependencies"]),
        config_file=raw.get("config_file") or "",
        config_env=raw.get("config_env") or "",
    )


def missing_dependencies(manifest: PluginManifest) -> tuple[str, ...]:
    """List the dependencies of which no version is installed."""
    return tuple(entry for entry in manifest.dependencies if not _installed(entry))


def _installed(requirement: str) -> bool:
    match = _DISTRIBUTION.match(requirement)
    if match is None:
        return False
    name = match.group(1)
    for candidate in (name, _SAME_MODULE.get(name.lower())):
        try:
            if candidate is not None and metadata.version(candidate):
                return True
        except metadata.PackageNotFoundError:
            continue
    return False


def _faults(raw: dict[str, Any]) -> list[str]:
    faults = [f"falta {key!r}" for key in (*_TEXTS, *_LISTS, "critical") if key not in raw]
    faults += [
        _wrong(key, raw[key], "un texto que no esté vacío")
        for key in _TEXTS
        if key in raw and not (isinstance(raw[key], str) and raw[key].strip())
    ]
    faults += [
        _wrong(key, raw[key], "una lista de textos")
        for key in _LISTS
        if key in raw and not _is_text_list(raw[key])
    ]
    faults += [
        _wrong(key, raw[key], "un texto o null")
        for key in _OPTIONAL
        if not isinstance(raw.get(key), str | None)
    ]
    if "critical" in raw and not isinstance(raw["critical"], bool):
        faults.append(_wrong("critical", raw["critical"], "true o false"))
    main_class = raw.get("main_class")
    if isinstance(main_class, str) and main_class.strip() and not _MAIN_CLASS.match(main_class):
        faults.append(_wrong("main_class", main_class, "paquete.modulo.Clase"))
    return faults


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _wrong(key: str, value: object, expected: str) -> str:
    return f"{key!r}: se encontró {_kind(value)}; se espera {expected}"


def _kind(value: object) -> str:
    if isinstance(value, dict | list):
        return "un objeto" if isinstance(value, dict) else "una lista"
    return json.dumps(value, ensure_ascii=False)[:80]
