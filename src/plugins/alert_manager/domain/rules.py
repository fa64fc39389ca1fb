"""Rules: compiled once from the configuration into closures, then judged in microseconds.

A rule looks at the events of its channels. Its conditions (`when`) say whether it applies; then it
either has one fixed severity, or compares a field with its levels: the most urgent reached wins.
An `otherwise` rule speaks only where no other rule of the channel applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import Event, Match, Payload, Severity
from .numbers import as_number
from .paths import Path, lookup
from .rule_spec import COMPARISONS, Condition, Measure, RuleSpec

Judge = Callable[[Event], list[Match]]
_Test = Callable[[Payload], bool]


@dataclass(frozen=True, slots=True)
class _Compiled:
    applies: _Test
    judge: Callable[[Payload], Match | None]
    otherwise: bool


def compile_rules(rules: Iterable[RuleSpec], thresholds: Mapping[str, float]) -> Judge:
    """Compiles rules into one function that returns the matches of an event, in rule order.

    Raises:
        KeyError: a rule names a threshold that does not exist.
    """
    by_channel: dict[str, list[_Compiled]] = {}
    for spec in rules:
        compiled = _compile(spec, thresholds)
        for channel in spec.channels:
            by_channel.setdefault(channel, []).append(compiled)
    for compiled_rules in by_channel.values():
        compiled_rules.sort(key=lambda rule: rule.otherwise)  # stable: `otherwise` rules last

    def judge(event: Event) -> list[Match]:
        matches: list[Match] = []
        applied = False
        data = event.data
        for rule in by_channel.get(event.channel, ()):
            if (rule.otherwise and applied) or not rule.applies(data):
                continue
            applied = True
            match = rule.judge(data)
            if match is not None:
                matches.append(match)
        return matches

    return judge


def _compile(spec: RuleSpec, thresholds: Mapping[str, float]) -> _Compiled:
    selectors = [c for c in spec.when if c.operation not in COMPARISONS]
    comparisons = [c for c in spec.when if c.operation in COMPARISONS]
    return _Compiled(
        applies=_all([_selector(c) for c in selectors]),
        judge=_judge(spec, comparisons, thresholds),
        otherwise=spec.otherwise,
    )


def _all(tests: Sequence[_Test]) -> _Test:
    if not tests:
        return lambda data: True
    if len(tests) == 1:
        return tests[0]
    return lambda data: all(test(data) for test in tests)


def _judge(
    spec: RuleSpec, comparisons: Sequence[Condition], thresholds: Mapping[str, float]
) -> Callable[[Payload], Match | None]:
    holds = _comparisons(comparisons)
    measure = _measure(spec.measure, thresholds) if spec.measure else None
    name, fixed = spec.name, spec.severity
    levels = spec.measure.levels if spec.measure else ()
    invalid_severity = fixed if fixed is not None else min(severity for severity, _ in levels)

    def judge(data: Payload) -> Match | None:
        try:
            if not holds(data):
                return None
            if measure is None:
                return Match(name, invalid_severity)
            reached = measure(data)
        except _InvalidValueError as error:
            return Match(name, invalid_severity, value=error.value, invalid=True)
        if reached is None:
            return None
        severity, value, threshold = reached
        return Match(name, severity, value, threshold)

    return judge


class _InvalidValueError(Exception):
    """A compared field holds something, yet no finite number: a broken sensor is no silence."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _number_at(data: Payload, path: Path) -> float | None:
    value = lookup(data, path)
    if value is None:  # absent, or null: nothing was measured
        return None
    number = as_number(value)
    if number is None:
        raise _InvalidValueError(value)
    return number


def _comparisons(conditions: Sequence[Condition]) -> _Test:
    tests = [(c.path, COMPARISONS[c.operation], float(c.operand)) for c in conditions]

    def holds(data: Payload) -> bool:
        for path, compare, limit in tests:
            number = _number_at(data, path)
            if number is None or not compare(number, limit):
                return False
        return True

    return holds


def _measure(
    measure: Measure, thresholds: Mapping[str, float]
) -> Callable[[Payload], tuple[Severity, float, float] | None]:
    compare = COMPARISONS[measure.comparison]
    levels = [
        (severity, limit.resolve(thresholds))
        for severity, limit in sorted(measure.levels, key=lambda level: -level[0])
    ]
    path, absolute = measure.path, measure.absolute

    def measured(data: Payload) -> tuple[Severity, float, float] | None:
        value = _number_at(data, path)
        if value is None:
            return None
        compared = abs(value) if absolute else value
        for severity, limit in levels:
            if compare(compared, limit):
                return severity, value, limit
        return None

    return measured


def _selector(condition: Condition) -> _Test:
    path, operand = condition.path, condition.operand
    match condition.operation:
        case "eq":
            return lambda data: bool(lookup(data, path) == operand)
        case "ne":
            return lambda data: bool(lookup(data, path) != operand)
        case "in":
            return lambda data: any(lookup(data, path) == item for item in operand)
        case "not_in":
            return lambda data: all(lookup(data, path) != item for item in operand)
        case "exists":
            return lambda data: (lookup(data, path) is not None) is operand
        case "matches":
            search = re.compile(operand).search
            return lambda data: isinstance(v := lookup(data, path), str) and bool(search(v))
    raise ValueError(f"unknown operation {condition.operation!r}")
