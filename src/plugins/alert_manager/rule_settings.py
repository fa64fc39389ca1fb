"""How a rule is written in alert_manager.yaml, and its translation into a `RuleSpec`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .domain.model import Severity
from .domain.paths import parse_path
from .domain.render import check_template
from .domain.rule_spec import COMPARISONS, Condition, Limit, Measure, RuleSpec
from .durations import Seconds
from .utils.channels.base import SeverityField

_OPERATIONS = ("eq", "ne", "in", "not_in", "matches", "exists", *COMPARISONS)
_LIMIT_NAME = re.compile(r"-?[a-z][a-z0-9_]*")


class RuleSettings(BaseModel):
    """One entry of `alert_config.rules`; the shipped alert_manager.yaml shows each key in use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    channel: str | list[str]
    when: dict[str, Any] = {}
    field: str | None = None
    compare: Literal[">", ">=", "<", "<="] | None = None
    levels: dict[str, float | str] = {}
    absolute: bool = False
    severity: SeverityField | None = None
    otherwise: bool = False
    dedupe_by: list[str] | None = None
    dedupe_window: Seconds | None = None
    title: str = Field(min_length=1)
    message: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> RuleSettings:
        compares = (self.field is not None, self.compare is not None, bool(self.levels))
        if any(compares) and not all(compares):
            raise ValueError("una regla que compara lleva field, compare y levels, los tres")
        if all(compares) == (self.severity is not None):
            raise ValueError("se espera o bien severity, o bien field, compare y levels")
        if self.absolute and self.field is None:
            raise ValueError("absolute solo vale junto a field")
        self.spec(window=0.0)
        check_template(self.title)
        check_template(self.message)
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """The CoreC channels that the rule watches."""
        return (self.channel,) if isinstance(self.channel, str) else tuple(self.channel)

    def limits(self) -> dict[Severity, Limit]:
        """The limit of each level.

        Raises:
            ValueError: a severity or a limit that cannot be read.
        """
        return {Severity.parse(name): _limit(name, value) for name, value in self.levels.items()}

    def check_levels(self, thresholds: Mapping[str, float]) -> None:
        """Checks that named thresholds exist and that a more urgent level is harder to reach.

        Raises:
            ValueError: says what is wrong.
        """
        limits = sorted(self.limits().items())
        for _, limit in limits:
            if limit.name is not None and limit.name not in thresholds:
                known = ", ".join(sorted(thresholds)) or "ninguno"
                raise ValueError(f"no existe el umbral {limit.name!r}; se permite: {known}")
        values = [limit.resolve(thresholds) for _, limit in limits]
        rising = self.compare in (">", ">=")
        if values != sorted(values, reverse=not rising) or len(set(values)) != len(values):
            order = "mayor" if rising else "menor"
            raise ValueError(f"con {self.compare}, cada nivel más urgente lleva un límite {order}")

    def spec(self, window: float) -> RuleSpec:
        """Returns the rule ready to compile; `window` (seconds) holds where it says none.

        Raises:
            ValueError: a condition, path, regular expression or limit that cannot be read.
        """
        measure = None
        if self.field is not None and self.compare is not None:
            measure = Measure(
                parse_path(self.field), self.compare, tuple(self.limits().items()), self.absolute
            )
        return RuleSpec(
            name=self.name,
            channels=self.channels,
            title=self.title,
            message=self.message,
            window=window if self.dedupe_window is None else self.dedupe_window,
            when=tuple(c for key, value in self.when.items() for c in _conditions(key, value)),
            measure=measure,
            severity=self.severity,
            otherwise=self.otherwise,
            dedupe_by=None if self.dedupe_by is None else tuple(map(parse_path, self.dedupe_by)),
        )


def _limit(name: str, value: float | str) -> Limit:
    if isinstance(value, str):
        if not _LIMIT_NAME.fullmatch(value):
            raise ValueError(
                f"levels.{name}: se encontró {value!r}; se espera un número, un umbral o -umbral"
            )
        return Limit(name=value.removeprefix("-"), negate=value.startswith("-"))
    return Limit(value=float(value))


def _conditions(key: str, value: Any) -> list[Condition]:
    """Reads `field: value`, `field: [values]` or `field: {operation: operand, …}`."""
    path = parse_path(key)
    if isinstance(value, list):
        return [Condition(path, "in", tuple(value))]
    if not isinstance(value, dict):
        return [Condition(path, "eq", value)]
    return [Condition(path, op, _operand(key, op, operand)) for op, operand in value.items()]


def _operand(key: str, operation: Any, operand: Any) -> Any:
    where = f"when.{key}.{operation}"
    if operation not in _OPERATIONS:
        raise ValueError(f"{where}: operación desconocida; se permite: {', '.join(_OPERATIONS)}")
    if operation in ("in", "not_in"):
        if not isinstance(operand, list) or not operand:
            raise ValueError(f"{where}: se encontró {operand!r}; se espera una lista con valores")
        return tuple(operand)
    if operation == "exists" and not isinstance(operand, bool):
        raise ValueError(f"{where}: se encontró {operand!r}; se espera true o false")
    if operation in COMPARISONS and (
        isinstance(operand, bool) or not isinstance(operand, int | float)
    ):
        raise ValueError(f"{where}: se encontró {operand!r}; se espera un número")
    if operation == "matches":
        try:
            re.compile(operand)
        except (re.error, TypeError) as error:
            raise ValueError(f"{where}: expresión regular inválida: {error}") from None
    return operand
