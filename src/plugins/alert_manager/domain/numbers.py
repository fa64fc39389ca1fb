"""What counts as a number in a payload."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


class Trouble(str):
    """What is wrong, in words, where no single value is at fault."""

    __slots__ = ()


class InvalidValueError(Exception):
    """A compared field holds something, yet no finite number: a broken sensor is no silence."""

    def __init__(self, value: Any) -> None:
        super().__init__(f"no es un número: {str(value)[:200]}")
        self.value = value


def as_number(value: Any) -> float | None:
    """Returns a finite number, also one written as text (exchanges do); None for anything else."""
    if type(value) is float:  # nearly always
        return value if math.isfinite(value) else None
    if isinstance(value, str) and len(value) <= 64 and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
