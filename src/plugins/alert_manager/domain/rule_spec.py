"""What a rule says, checked and ready to be compiled."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .model import Severity
from .paths import Path

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A level's limit: a number, or a named threshold, negated where it was written `-name`."""

    value: float = 0.0
    name: str | None = None
    negate: bool = False

    def resolve(self, thresholds: Mapping[str, float]) -> float:
        """Returns the number that counts now.

        Raises:
            KeyError: the named threshold does not exist.
        """
        if self.name is None:
            return self.value
        value = thresholds[self.name]
        return -value if self.negate else value


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a field: eq, ne, in, not_in, matches, exists or a comparison."""

    path: Path
    operation: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Measure:
    """What a rule compares: a field, in absolute value where asked, with a limit per severity."""

    path: Path
    comparison: str
    levels: tuple[tuple[Severity, Limit], ...]
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule as configured, checked and ready to compile.

    Attributes:
        dedupe_by: fields that identify a repeat; None takes the whole payload.
        window: seconds in which a repeat is counted instead of told.
        title: Jinja2 template of one short line.
        message: Jinja2 template of one paragraph.
    """

    name: str
    channels: tuple[str, ...]
    title: str
    message: str
    window: float
    when: tuple[Condition, ...] = ()
    measure: Measure | None = None
    severity: Severity | None = None
    otherwise: bool = False
    dedupe_by: tuple[Path, ...] | None = None
