"""Jinja2 as words and conditions use it: nothing but the event is reached, and no event harms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Undefined, UndefinedError, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .numbers import InvalidValueError, as_number

# Of Jinja2's, those in whose arguments an event cannot ask for a gigabyte or an hour.
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "first", "float", "int", "items", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select",
    "selectattr", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique",
    "upper", "wordcount",
)  # fmt: skip
_METHODS = frozenset(
    ("startswith", "endswith", "lower", "upper", "strip", "title", "get", "items", "keys", "values")
)
_MAX_TEXT, _MAX_PART = 4000, 100  # characters
_MAX_PRECISION = 15  # digits of a float


def _round(value: Any, precision: Any = 0, method: str = "common") -> float:
    digits = max(-_MAX_PRECISION, min(_MAX_PRECISION, int(to_number(precision))))
    number, scale = to_number(value), 10.0**digits
    forms = {"floor": math.floor, "ceil": math.ceil}
    return forms[method](number * scale) / scale if method in forms else round(number, digits)


def _replace(value: Any, old: Any, new: Any) -> str:
    return str(value)[:_MAX_TEXT].replace(str(old)[:_MAX_PART], str(new)[:_MAX_PART])


def _join(values: Any, separator: Any = "") -> str:
    return str(separator)[:_MAX_PART].join(str(v)[:_MAX_PART] for v in list(values)[:_MAX_PART])


class Sandbox(ImmutableSandboxedEnvironment):
    """Computes with numbers alone: a text of an event, times a million, would fill the memory."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters |= {"round": _round, "replace": _replace, "join": _join}

    def is_safe_callable(self, obj: Any) -> bool:
        """Says whether a template may call it: a few methods of texts and mappings."""
        if isinstance(obj, Undefined):
            return True  # to be told that it is not there
        owner = getattr(obj, "__self__", None)
        return isinstance(owner, str | Mapping) and getattr(obj, "__name__", "") in _METHODS

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> float:
        """Computes; called by compiled templates.

        Raises:
            InvalidValueError: a side is there, and no number.
            jinja2.UndefinedError: a side is not there, or null.
        """
        whole = type(left) is int and type(right) is int and operator != "**"
        if not whole:  # 10**300 to the power of itself would take for ever; as a float it fails
            left, right = to_number(left), to_number(right)
        number: float = self.binop_table[operator](left, right)
        if type(number) is float and not math.isfinite(number):
            raise InvalidValueError(number)
        return number


def to_number(value: Any) -> float:
    """Returns a value as a number.

    Raises:
        InvalidValueError: it is none.
        jinja2.UndefinedError: there is no value, or null: nothing was measured.
    """
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    if value is None:
        raise UndefinedError("null")
    number = as_number(value)
    if number is None:
        raise InvalidValueError(value)
    return number


def check_constants(tree: nodes.Template) -> None:
    """Refuses sums that come to nothing on any event.

    Raises:
        ValueError: says which text is computed with.
    """
    for sum_of in tree.find_all(nodes.BinExpr):
        for side in (sum_of.left, sum_of.right):
            if sum_of.operator in Sandbox.intercepted_binops and _is_text(side):
                operator = sum_of.operator
                raise ValueError(
                    f"{operator} es para números; dos textos se unen con ~: a ~ ' en ' ~ b"
                )


def _is_text(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Concat):
        return True
    return isinstance(node, nodes.Const) and as_number(node.value) is None
