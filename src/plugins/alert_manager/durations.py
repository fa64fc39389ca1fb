"""Durations as people write them in the configuration: `90`, `30s`, `10m`, `1h`, `7d`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def parse_duration(value: Any) -> float:
    """Returns seconds.

    Raises:
        ValueError: `value` is neither a number of seconds nor a text such as `10m`.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"se encontró {value!r}; se espera una duración como 90, 30s, 10m, 1h, 7d")
    return float(match[1]) * _UNITS[match[2] or "s"]


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
"""Seconds, written as a number or as a text with a unit."""
