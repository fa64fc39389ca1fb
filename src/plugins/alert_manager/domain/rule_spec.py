"""What a rule says, checked and ready to be compiled."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .absence import Awaited
from .model import Severity
from .paths import Path

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
RISING = (">", ">=")  # comparisons by which more is worse


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
    """One condition: eq, ne, in, not_in, matches, exists or a comparison of a field.

    Or an expression, which has no path.
    """

    path: Path
    operation: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Measure:
    """The number that a rule compares with a limit per severity.

    Attributes:
        path: the field; None counts events.
        absolute: True compares without the sign.
        change: compares how the field changed, instead of its value.
        within: seconds in which events are counted, or changes looked for.
        clear: the limit beyond which an alert of this rule is over.
    """

    path: Path | None
    comparison: str
    levels: tuple[tuple[Severity, Limit], ...]
    absolute: bool = False
    change: Change | None = None
    within: float | None = None
    clear: Limit | None = None

    @property
    def remembers(self) -> bool:
        """True where an event alone does not say what it comes to."""
        return self.path is None or self.change is not None or self.clear is not None

    def reach(self, thresholds: Mapping[str, float]) -> Reach:
        """Returns what finds the most urgent level that a number reaches, and its limit.

        Raises:
            KeyError: a named threshold does not exist.
        """
        compare = COMPARISONS[self.comparison]
        levels = [
            (severity, limit.resolve(thresholds))
            for severity, limit in sorted(self.levels, key=lambda level: -level[0])
        ]
        absolute = self.absolute

        def reached(number: float) -> tuple[Severity, float] | None:
            compared = abs(number) if absolute else number
            for severity, limit in levels:
                if compare(compared, limit):
                    return severity, limit
            return None

        return reached


class Change(enum.Enum):
    """How a change is measured."""

    PERCENT = "percent"
    ABSOLUTE = "absolute"


Reach = Callable[[float], tuple[Severity, float] | None]


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule as configured, checked and ready to compile.

    Attributes:
        dedupe_by: fields that identify a repeat; None takes the whole payload.
        window: seconds in which a repeat is counted instead of told.
        title: Jinja2 template of one short line.
        message: Jinja2 template of one paragraph.
        absence: when an event has to come; the alert is that none does.
        per: fields that tell apart what the rule remembers: each symbol by itself, for instance.
        recovery: Jinja2 template of one paragraph that says that the alert is over.
        words: title and message for notification channels that tell it in other words.
    """

    name: str
    channels: tuple[str, ...]
    title: str
    message: str
    window: float
    when: tuple[Condition, ...] = ()
    measure: Measure | None = None
    absence: Awaited | None = None
    severity: Severity | None = None
    otherwise: bool = False
    dedupe_by: tuple[Path, ...] | None = None
    per: tuple[Path, ...] = ()
    recovery: str | None = None
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def comparisons(self) -> list[Condition]:
        """The conditions on a number's size, in the order in which they are asked."""
        return [condition for condition in self.when if condition.operation in COMPARISONS]

    @property
    def least_severity(self) -> Severity:
        """The fixed severity, or that of the lowest level."""
        return min(self.severities)

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Every severity that an alert of the rule can have; one at the least."""
        if self.severity is not None or self.measure is None:
            return (self.severity or Severity.BAJA,)
        return tuple(severity for severity, _ in self.measure.levels)

    @property
    def remembers(self) -> bool:
        """True where an event alone does not say what it comes to."""
        return self.absence is not None or (self.measure is not None and self.measure.remembers)

    @property
    def lasts(self) -> bool:
        """True where something later says that its alert is over; until then it goes on."""
        return self.absence is not None or (
            self.measure is not None and self.measure.clear is not None
        )

    @property
    def identity(self) -> tuple[Path, ...] | None:
        """The fields that identify a repeat."""
        return self.per if self.dedupe_by is None and self.remembers else self.dedupe_by
