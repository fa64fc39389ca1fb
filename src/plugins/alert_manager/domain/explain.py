"""Why rules find something in an event, or do not, in words for the family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .expression import OPERATION
from .model import Event, Payload
from .paths import lookup
from .redact import redact
from .rule_spec import Condition, Measure, RuleSpec
from .rules import Found, applies, compile_rules

_WORDS = {
    "eq": "igual a {}",
    "ne": "distinto de {}",
    "in": "uno de {}",
    "not_in": "ninguno de {}",
    "matches": "que encaje con {}",
}
_MAX_SHOWN = 80  # characters of a value


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a rule looks at, in words, and whether it speaks for an alert."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """What one rule makes of an event.

    Attributes:
        reasons: what it looks at, in order.
        found: a match, an observation of a rule that remembers, or nothing.
    """

    rule: str
    reasons: tuple[Reason, ...]
    found: Found | None


def explain(
    specs: Iterable[RuleSpec], thresholds: Mapping[str, float], event: Event
) -> list[Explained]:
    """Returns what each rule of the event's channel makes of it; `otherwise` rules last.

    The event is judged as it came, and shown without its secrets.
    """
    safe = redact(event.data)
    looking = [spec for spec in specs if event.channel in spec.channels]
    looking.sort(key=lambda spec: spec.otherwise)
    explained: list[Explained] = []
    for spec in looking:
        reasons = [_condition(condition, event, safe) for condition in spec.when]
        if spec.otherwise:
            others = [
                one.rule
                for one, other in zip(explained, looking, strict=False)
                if applies(other, event)
            ]
            told = f"ninguna otra regla se aplica{_but(others)}"
            reasons.append(Reason(told, not others))
        held = all(reason.holds for reason in reasons)
        found = compile_rules([spec], thresholds)(event) if held else []
        if held and spec.measure is not None:
            reasons.append(_measured(spec.measure, thresholds, safe, bool(found)))
        explained.append(Explained(spec.name, tuple(reasons), found[0] if found else None))
    return explained


def _but(others: list[str]) -> str:
    return f" (se aplica {', '.join(others)})" if others else ""


def _condition(condition: Condition, event: Event, safe: Payload) -> Reason:
    if condition.operation == OPERATION:
        return Reason(f"se espera {condition.operand}", applies(_only(condition), event))
    name, value = ".".join(condition.path), lookup(safe, condition.path)
    if condition.operation == "exists":
        wanted = "que exista" if condition.operand else "que no exista"
    else:
        form = _WORDS.get(condition.operation, condition.operation + " {}")
        wanted = form.format(_shown(condition.operand))
    return Reason(
        f"{name} es {_shown(value)}; se espera {wanted}", applies(_only(condition), event)
    )


def _only(condition: Condition) -> RuleSpec:
    return RuleSpec("", (), "", "", 0.0, when=(condition,))


def _measured(
    measure: Measure, thresholds: Mapping[str, float], safe: Payload, found: bool
) -> Reason:
    levels = ", ".join(
        f"{severity.label} con {measure.comparison} {limit.resolve(thresholds):g}"
        for severity, limit in sorted(measure.levels, key=lambda level: level[0])
    )
    if measure.path is None:
        return Reason(f"cuenta este evento; {levels} en {measure.within:g} s", found)
    name, value = ".".join(measure.path), _shown(lookup(safe, measure.path))
    subject = name if measure.change is None else f"el cambio de {name}"
    return Reason(f"{name} es {value}; {subject}: {levels}", found)


def _shown(value: Any) -> str:
    if value is None:
        return "nada"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
