"""How a rule is written in alert_manager.yaml, and its translation into a `RuleSpec`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .absence_settings import ClockTime, absence_fault, awaited
from .domain.expression import OPERATION, compile_expression
from .domain.frequency import MAX_COUNT
from .domain.model import Severity
from .domain.numbers import as_number
from .domain.paths import parse_path
from .domain.patterns import check_pattern
from .domain.render import check_template
from .domain.rule_spec import COMPARISONS, RISING, Change, Condition, Limit, Measure, RuleSpec
from .durations import Seconds
from .interval_settings import ActiveSettings
from .utils.channels.base import SeverityField

_OPERATIONS = ("eq", "ne", "in", "not_in", "matches", "exists", *COMPARISONS)
Finite = Annotated[float, Field(allow_inf_nan=False)]
"""A number that can be compared."""
_LIMIT_NAME = re.compile(r"-?[a-z][a-z0-9_]*")


class WordSettings(BaseModel):
    """An entry of a rule's `words`: what one notification channel says instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(default=None, min_length=1)
    message: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> WordSettings:
        if self.title is None and self.message is None:
            raise ValueError("se espera title, message o los dos")
        return self


class RuleSettings(BaseModel):
    """One entry of `alert_config.rules`; the shipped alert_manager.yaml shows each key in use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    channel: str | Annotated[list[str], Field(min_length=1)]
    when: dict[str, Any] = {}
    expression: str | None = None
    field: str | None = None
    change: Change | None = None
    change_within: Seconds | None = None
    count_within: Seconds | None = None
    absent_for: Seconds | None = None
    absent_by: ClockTime | None = None
    absent_within: Seconds | None = None
    active: ActiveSettings | None = None
    per: list[str] = []
    compare: Literal[">", ">=", "<", "<="] | None = None
    levels: dict[str, Finite | str] = {}
    absolute: bool = False
    clear: Finite | str | None = None
    severity: SeverityField | None = None
    otherwise: bool = False
    dedupe_by: list[str] | None = None
    dedupe_window: Seconds | None = None
    title: str = Field(min_length=1)
    message: str = Field(min_length=1)
    recovery: str | None = Field(default=None, min_length=1)
    words: dict[str, WordSettings] = {}

    @model_validator(mode="after")
    def _check(self) -> RuleSettings:
        counts = self.count_within is not None
        compares = (
            counts or self.field is not None,
            self._comparison is not None,
            bool(self.levels),
        )
        if any(compares) and not all(compares):
            raise ValueError(
                "una regla que compara lleva field, compare y levels, los tres; "
                "una que cuenta, count_within y levels"
            )
        if all(compares) == (self.severity is not None):
            raise ValueError(
                "se espera o bien severity, o bien field, compare y levels, "
                "o bien count_within y levels"
            )
        if (fault := next(self._misplaced(), None)) is not None:
            raise ValueError(fault)
        if not self.spec(window=0.0, zone="UTC").remembers and self.per:
            raise ValueError("per solo vale junto a count_within, change, clear o absent_…")
        own = [text for words in self.words.values() for text in (words.title, words.message)]
        for template in (self.title, self.message, self.recovery, *own):
            check_template(template or "")
        return self

    def _misplaced(self) -> Iterator[str]:
        """Says which keys stand without those that they belong to."""
        counts = self.count_within is not None
        if self.field is not None and counts:
            yield "se espera field o count_within, no los dos"
        if self.field is None and (self.absolute or self.change is not None):
            yield "absolute y change solo valen junto a field"
        if self.change_within is not None and self.change is None:
            yield "change_within solo vale junto a change"
        if 0.0 in (self.change_within, self.count_within):
            yield "count_within y change_within son más de 0 segundos, por ejemplo 10m"
        absence = absence_fault(self.absent_for, self.absent_by, self.absent_within, self.active)
        if absence is not None:
            yield absence
        if self._awaits and (self.severity is None or self.dedupe_by is not None or self.otherwise):
            yield "una regla con absent_for o absent_by lleva severity, sin dedupe_by ni otherwise"
        if self.recovery is not None and self.clear is None and not self._awaits:
            yield "recovery solo vale junto a clear, absent_for o absent_by"
        if self.clear is not None and self.dedupe_by is not None:
            yield "junto a clear, lo que distingue una alerta de otra es per, sin dedupe_by"
        if self.clear is not None and self.severity is not None:
            yield "clear solo vale junto a levels"

    @property
    def _comparison(self) -> str | None:
        """How the number is compared; a count is, unless it says otherwise, too high."""
        return ">=" if self.compare is None and self.count_within is not None else self.compare

    @property
    def _awaits(self) -> bool:
        return self.absent_for is not None or self.absent_by is not None

    @property
    def channels(self) -> tuple[str, ...]:
        """The CoreC channels that the rule watches."""
        named = [self.channel] if isinstance(self.channel, str) else self.channel
        return tuple(dict.fromkeys(named))

    def limits(self) -> dict[Severity, Limit]:
        """The limit of each level.

        Raises:
            ValueError: a severity or a limit that cannot be read.
        """
        limits = {
            Severity.parse(name): _limit(f"levels.{name}", value)
            for name, value in self.levels.items()
        }
        if len(limits) < len(self.levels):
            raise ValueError("levels: la misma severidad está dos veces")
        return limits

    def check_levels(self, thresholds: Mapping[str, float]) -> None:
        """Checks that named thresholds exist and that a more urgent level is harder to reach.

        Raises:
            ValueError: says what is wrong.
        """
        limits = [limit for _, limit in sorted(self.limits().items())]
        clear = self._clear()
        for limit in (*limits, clear):
            if limit is not None and limit.name is not None and limit.name not in thresholds:
                known = ", ".join(sorted(thresholds)) or "ninguno"
                raise ValueError(f"no existe el umbral {limit.name!r}; se permite: {known}")
        values = [limit.resolve(thresholds) for limit in limits]
        rising = self._comparison in RISING
        order = "mayor" if rising else "menor"
        if values != sorted(values, reverse=not rising) or len(set(values)) != len(values):
            raise ValueError(
                f"con {self._comparison}, cada nivel más urgente lleva un límite {order}"
            )
        if self.count_within is not None and max(values, default=0.0) > MAX_COUNT:
            raise ValueError(f"se cuenta hasta {MAX_COUNT}; se encontró {max(values):g}")
        if clear is not None:
            end = clear.resolve(thresholds)
            least = 1.0 if self.count_within is not None else 0.0 if self.absolute else None
            if rising and least is not None and end <= least:
                # The event that looks counts itself, and no size is less than nothing.
                raise ValueError(f"se encontró clear {end:g}; así no acaba nunca: más de {least:g}")
            if (end > min(values)) if rising else (end < max(values)):
                raise ValueError(
                    f"se encontró clear {end:g}; con {self._comparison} no puede ser {order} que "
                    "el nivel menos urgente"
                )

    def spec(self, window: float, zone: str) -> RuleSpec:
        """Returns the rule ready to compile.

        `window` (seconds) and `zone` (of clock times) hold where the rule says none.

        Raises:
            ValueError: a condition, path, regular expression or limit that cannot be read.
        """
        measure = None
        if self._comparison is not None:
            measure = Measure(
                path=None if self.field is None else parse_path(self.field),
                comparison=self._comparison,
                levels=tuple(self.limits().items()),
                absolute=self.absolute,
                change=self.change,
                within=self.count_within or self.change_within,
                clear=self._clear(),
            )
        return RuleSpec(
            name=self.name,
            channels=self.channels,
            title=self.title,
            message=self.message,
            window=window if self.dedupe_window is None else self.dedupe_window,
            when=tuple(self._when()),
            measure=measure,
            absence=awaited(self.absent_for, self.absent_by, self.absent_within, self.active, zone),
            severity=self.severity,
            otherwise=self.otherwise,
            dedupe_by=None if self.dedupe_by is None else tuple(map(parse_path, self.dedupe_by)),
            per=tuple(map(parse_path, self.per)),
            recovery=self.recovery,
            words={
                name: (words.title or self.title, words.message or self.message)
                for name, words in self.words.items()
            },
        )

    def _when(self) -> Iterator[Condition]:
        for key, value in self.when.items():
            yield from _conditions(key, value)
        if self.expression is not None:
            compile_expression(self.expression)
            yield Condition((), OPERATION, self.expression)

    def _clear(self) -> Limit | None:
        return None if self.clear is None else _limit("clear", self.clear)


def _limit(where: str, value: float | str) -> Limit:
    if isinstance(value, str):
        if not _LIMIT_NAME.fullmatch(value):
            raise ValueError(
                f"{where}: se encontró {value!r}; se espera un número, un umbral o -umbral"
            )
        return Limit(name=value.removeprefix("-"), negate=value.startswith("-"))
    return Limit(value=float(value))


def _conditions(key: str, value: Any) -> list[Condition]:
    """Reads `field: value`, `field: [values]` or `field: {operation: operand, …}`."""
    path = parse_path(key)
    if value in (None, [], {}):
        raise ValueError(
            f"when.{key}: se encontró {value!r}; se espera un valor, una lista con valores o una "
            "condición; para un campo que falta, {exists: false}"
        )
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
    if operation in COMPARISONS and (isinstance(operand, str) or as_number(operand) is None):
        raise ValueError(f"{where}: se encontró {operand!r}; se espera un número")
    if operation == "matches":
        try:
            check_pattern(operand)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from None
    return operand
