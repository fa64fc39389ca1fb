"""Jinja2 as words and conditions use it: nothing but the event is reached, and no event harms."""

from __future__ import annotations

from typing import Any

from jinja2 import Undefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .numbers import InvalidValueError, as_number


class Sandbox(ImmutableSandboxedEnvironment):
    """Computes with numbers alone: a text of an event, times a million, would fill the memory."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals.clear()

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> float:
        """Computes; called by compiled templates.

        Raises:
            InvalidValueError: a side is there, and no number.
            jinja2.UndefinedError: a side is not there.
        """
        whole = type(left) is int and type(right) is int and operator != "**"
        if not whole:  # 10**300 to the power of itself would take for ever; as a float it fails
            left, right = to_number(left), to_number(right)
        number: float = self.binop_table[operator](left, right)
        return number


def to_number(value: Any) -> float:
    """Returns a value as a number.

    Raises:
        InvalidValueError: it is none.
        jinja2.UndefinedError: there is no value.
    """
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    number = as_number(value)
    if number is None:
        raise InvalidValueError(value)
    return number
