"""Reads alert_manager.yaml: `${NAME}` from the environment, `file:/path` for a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_SECRET_PATH = re.compile(r"password|secret|token|webhook|dsn", re.IGNORECASE)
_WITH_SECRETS = ("db_config", "notification_config")
_SHORT = 5  # characters; a port, a flag or a mode is shorter than any secret
_EXPECTED = {
    "missing": "falta; es obligatorio",
    "int_parsing": "se espera un número entero",
    "int_type": "se espera un número entero",
    "int_from_float": "se espera un número entero",
    "float_parsing": "se espera un número",
    "float_type": "se espera un número",
    "finite_number": "se espera un número finito",
    "bool_parsing": "se espera true o false",
    "bool_type": "se espera true o false",
    "string_type": "se espera un texto",
    "list_type": "se espera una lista",
    "tuple_type": "se espera una lista",
    "dict_type": "se espera una tabla de claves y valores",
    "model_type": "se espera una tabla de claves y valores",
    "model_attributes_type": "se espera una tabla de claves y valores",
    "greater_than": "se espera un número mayor que {gt}",
    "greater_than_equal": "se espera un número desde {ge}",
    "less_than": "se espera un número menor que {lt}",
    "less_than_equal": "se espera un número hasta {le}",
    "literal_error": "se permite: {expected}",
    "string_too_short": "no puede estar vacío",
    "too_short": "no puede estar vacío",
    "string_pattern_mismatch": "se espera la forma {pattern}",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the configuration: where, and what was found and is allowed."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class ConfigError(ValueError):
    """The configuration cannot be used; lists every fault with its path, in Spanish."""

    def __init__(self, faults: Iterable[Fault], name: str = "alert_manager.yaml") -> None:
        self.faults = tuple(faults)
        count = "1 fallo" if len(self.faults) == 1 else f"{len(self.faults)} fallos"
        lines = [f"{name} no es válido ({count}):"]
        super().__init__("\n  - ".join([*lines, *map(str, self.faults)]))


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping that a YAML file holds.

    Raises:
        ConfigError: the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        content = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault("", f"no se puede leer: {error}")], str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError([Fault("", f"no es YAML: {_yaml_problem(error)}")], str(path)) from None
    except (ValueError, RecursionError) as error:  # a date that is none; a million brackets
        text = f"un valor no se entiende: {type(error).__name__}"
        raise ConfigError([Fault("", text)], str(path)) from None
    if not isinstance(content, dict):
        raise ConfigError([Fault("", "se espera una tabla de claves y valores")], str(path))
    return content


# A start reads the same file twice, 80 ms each. Not by PyYAML's loader in C, which is faster: it
# ends the process by SIGSEGV where brackets are nested deeply enough.
@lru_cache(maxsize=1)
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Says what is wrong and where, without the line itself: it may hold a password."""
    mark = getattr(error, "problem_mark", None)
    where = f" (línea {mark.line + 1}, columna {mark.column + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or 'error de sintaxis'}{where}"


def interpolate(value: Any, environ: Mapping[str, str] | None = None) -> Any:
    """Returns `value` with `${NAME}`, `${NAME:-default}` and `file:/path` replaced, at any depth.

    Raises:
        ConfigError: variables without a value, and secret files that cannot be read.
    """
    faults: list[Fault] = []
    result = _walk(value, "", os.environ if environ is None else environ, faults)
    if faults:
        raise ConfigError(faults)
    return result


def _walk(value: Any, path: str, environ: Mapping[str, str], faults: list[Fault]) -> Any:
    if isinstance(value, dict):
        return {k: _walk(v, _join(path, k), environ, faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(v, _join(path, i), environ, faults) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environ.get(match["name"]) or match["default"]
        if found is None:
            text = f"la variable {match['name']} no tiene valor; defínela o escribe "
            faults.append(Fault(path, text + f"${{{match['name']}:-valor}}"))
            return ""
        return found

    text = _VARIABLE.sub(substitute, value)
    if not text.startswith("file:/"):
        return text
    try:
        return Path(text.removeprefix("file:")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault(path, f"no se puede leer el secreto: {error}"))
        return ""


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)


def faults_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Fault]:
    """Translates what pydantic found into sentences for the family; secrets are not repeated."""
    return [_fault(details, model, prefix) for details in error.errors(include_url=False)]


def _fault(details: ErrorDetails, model: type[BaseModel], prefix: str) -> Fault:
    path = prefix
    for part in details["loc"]:
        path = _join(path, part)
    kind = details["type"]
    if kind == "extra_forbidden":
        allowed = ", ".join(_fields_at(model, details["loc"][:-1]))
        return Fault(path, f"clave desconocida; se permite: {allowed}" if allowed else "sobra")
    if kind == "missing":
        return Fault(path, _EXPECTED["missing"])
    if kind == "value_error":
        return Fault(path, str(details["ctx"]["error"]))
    expected = _EXPECTED.get(kind, details["msg"]).format(**details.get("ctx", {}))
    return Fault(path, f"se encontró {_shown(path, details['input'])}; {expected}")


def _shown(path: str, found: Any) -> str:
    if _SECRET_PATH.search(path) or isinstance(found, list | dict):
        return "[oculto]"
    if isinstance(found, str) and path.startswith(_WITH_SECRETS) and len(found) > _SHORT:
        return "[oculto]"  # a DSN or a webhook's address that stands where it should not
    text = repr(found)
    return text if len(text) <= 80 else text[:77] + "..."


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model at `loc`; empty where the path leads out of models."""
    current: Any = model
    for part in loc:
        current = _step(current, part)
        if current is None:
            return []
    fields = getattr(current, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _step(current: Any, part: int | str) -> Any:
    if isinstance(part, int):
        return current  # an index: `current` is the model of the list's items already
    if isinstance(current, tuple):
        return current[0]  # a key of a mapping to models
    for name, field in getattr(current, "model_fields", {}).items():
        if part in (name, field.alias):
            found = _model_in(field.annotation)
            return (found,) if found and get_origin(field.annotation) is dict else found
    return None


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
