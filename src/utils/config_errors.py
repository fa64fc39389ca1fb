"""Faults of a configuration in the words of the person who has to mend it."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SECRET_NAMES = frozenset({"password", "url", "options"})
_PATTERNS = {"instance_id": "letras, cifras, '.', '_' o '-', de 1 a 32 caracteres"}
_EXPECTED = {
    "int_parsing": "un número entero",
    "int_type": "un número entero",
    "int_from_float": "un número entero",
    "float_parsing": "un número",
    "float_type": "un número",
    "string_type": "un texto",
    "tuple_type": "una lista",
    "model_type": "un grupo de claves",
    "model_attributes_type": "un grupo de claves",
    "string_too_short": "un texto que no esté vacío",
}


class ConfigError(ValueError):
    """A setting is wrong; the text names its path, what was found and what is allowed."""


def explain(fault: ValidationError, source: str, model: type[BaseModel]) -> str:
    """Write each fault of a checked model in one Spanish line, without secret values."""
    lines = [
        f"{source}: {_path(error['loc'])}: {_complaint(error, model)}" for error in fault.errors()
    ]
    return "\n".join(lines)


def _path(loc: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def _complaint(error: ErrorDetails, model: type[BaseModel]) -> str:
    loc, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        allowed = ", ".join(sorted(_section(model, loc[:-1]).model_fields))
        return f"clave desconocida; se permite: {allowed}"
    if kind == "missing":
        return "falta; es obligatoria"
    return f"se encontró {_found(error)}; se espera {_expected(error)}"


def _found(error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, dict | list):
        return "un grupo de claves" if isinstance(value, dict) else "una lista"
    if any(part in _SECRET_NAMES for part in error["loc"]):
        return "(valor oculto)"
    return repr(value)[:80]


def _expected(error: ErrorDetails) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    kind, name = error["type"], str(error["loc"][-1])
    special = {
        "greater_than_equal": f"un valor desde {context.get('ge')}",
        "less_than_equal": f"un valor hasta {context.get('le')}",
        "string_too_long": f"un texto de {context.get('max_length')} caracteres como mucho",
        "literal_error": str(context.get("expected", "")).replace(" or ", " o "),
        "string_pattern_mismatch": _PATTERNS.get(name, str(context.get("pattern"))),
        "value_error": str(context.get("error", "")).removeprefix("se espera "),
    }
    return special.get(kind) or _EXPECTED.get(kind) or error["msg"]


def _section(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model
