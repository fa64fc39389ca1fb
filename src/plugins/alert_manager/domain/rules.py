"""Rules: compiled once from the configuration into closures, then judged in microseconds.

A rule looks at the events of its channels. Its conditions (`when`) say whether it applies; then it
either has one fixed severity, or compares a field with its levels: the most urgent reached wins.
An `otherwise` rule speaks only where no other rule of the channel applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from .dedupe import Road
from .expression import compile_expression
from .fingerprint import keyed, mark
from .model import Event, Match, Observation, Occurrence, Payload
from .numbers import InvalidValueError, as_number
from .paths import Path, getter
from .patterns import searcher
from .rule_spec import COMPARISONS, Condition, RuleSpec

Found = Match | Observation
Judge = Callable[[Event], list[Found]]
_Finding = Callable[[Event], Found | None]
_JudgeOne = Callable[[Event, InvalidValueError | None], Found | None]
_Test = Callable[[Payload], bool]
_INFINITY = float("inf")


class _Compiled(NamedTuple):
    """A rule.

    Attributes:
        applies: says whether it looks at an event at all; may find an invalid value. None: always.
        judge: says what it finds in one that it applies to, or may apply to for all that can be
            said of an invalid value.
    """

    applies: _Test | None
    judge: _JudgeOne
    otherwise: bool
    awaits: bool  # an event that is only awaited is not judged by that


def compile_rules(rules: Iterable[RuleSpec], thresholds: Mapping[str, float]) -> Judge:
    """Compiles rules into one function that returns what they find in an event, in rule order.

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

    def judge(event: Event) -> list[Found]:
        found: list[Found] = []
        applied = False
        data = event.data
        for applies, judge_one, otherwise, awaits in by_channel.get(event.channel, ()):
            if otherwise and applied:
                continue
            invalid = None
            try:
                if applies is not None and not applies(data):
                    continue
            except InvalidValueError as error:
                invalid = error
            applied = applied or not awaits
            if (one := judge_one(event, invalid)) is not None:
                found.append(one)
        return found

    return judge


def applies(spec: RuleSpec, event: Event) -> bool:
    """Says whether all conditions of a rule hold for an event of its channel."""
    compiled = _compile(replace(spec, measure=None, absence=None), {})
    try:
        holds = compiled.applies is None or compiled.applies(event.data)
    except InvalidValueError:
        return False
    return holds and isinstance(found := compiled.judge(event, None), Match) and not found.invalid


def _compile(spec: RuleSpec, thresholds: Mapping[str, float]) -> _Compiled:
    selectors = [_selector(c) for c in spec.when if c.operation not in COMPARISONS]
    return _Compiled(
        applies=_all(selectors),
        judge=_judge(spec, thresholds),
        otherwise=spec.otherwise,
        awaits=spec.absence is not None,
    )


def _all(tests: Sequence[_Test]) -> _Test | None:
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda data: all(test(data) for test in tests)


def _judge(spec: RuleSpec, thresholds: Mapping[str, float]) -> _JudgeOne:
    holds = _all([_comparison(condition) for condition in spec.comparisons])
    finding = _finding(spec, thresholds)
    name = spec.name
    invalid_severity = spec.least_severity

    def judge(event: Event, invalid: InvalidValueError | None) -> Found | None:
        try:
            if holds is not None and not holds(event.data):
                return None
            if invalid is not None:
                raise invalid
            return finding(event)
        except InvalidValueError as error:
            return Match(name, invalid_severity, value=error.value, invalid=True)

    return judge


def _finding(spec: RuleSpec, thresholds: Mapping[str, float]) -> _Finding:
    """Compiles what a rule finds in an event that its conditions hold for."""
    measure = spec.measure
    if spec.remembers:
        return _observing(spec)
    if measure is None or measure.path is None:
        fixed = Match(spec.name, spec.least_severity)
        return lambda event: fixed
    name, number, reach = spec.name, _number_at(measure.path), measure.reach(thresholds)

    def compare(event: Event) -> Match | None:
        value = number(event.data)
        reached = None if value is None else reach(value)
        return None if reached is None else Match(name, reached[0], value, reached[1])

    return compare


def _observing(spec: RuleSpec) -> _Finding:
    measure, key = spec.measure, keyed(spec.name, spec.per)
    path = None if measure is None else measure.path
    number = None if path is None else _number_at(path)
    # Else nothing asks which event it was.
    marked = measure is not None and (path is None or measure.clear is not None)

    def observe(event: Event) -> Observation | None:
        value = None
        if number is not None and (value := number(event.data)) is None:
            return None
        which = mark(event.data) if marked else 0
        occurrence = Occurrence(event.timestamp, which, Road.of(event.source))
        return Observation(key(event.data), occurrence, value, event)

    return observe


def _number_at(path: Path) -> Callable[[Payload], float | None]:
    get = getter(path)

    def number_at(data: Payload) -> float | None:
        value = get(data)
        if type(value) is float and -_INFINITY < value < _INFINITY:  # nearly always
            return value
        if value is None:  # absent, or null: nothing was measured
            return None
        number = as_number(value)
        if number is None:
            raise InvalidValueError(value)
        return number

    return number_at


def _comparison(condition: Condition) -> _Test:
    number_at, limit = _number_at(condition.path), float(condition.operand)
    compare = COMPARISONS[condition.operation]
    return lambda data: (number := number_at(data)) is not None and compare(number, limit)


def _selector(condition: Condition) -> _Test:
    get, operand = getter(condition.path), condition.operand
    match condition.operation:
        case "expression":
            return compile_expression(operand)
        case "eq":
            return lambda data: bool(get(data) == operand)
        case "ne":
            return lambda data: bool(get(data) != operand)
        case "in":
            return lambda data: any(get(data) == item for item in operand)
        case "not_in":
            return lambda data: all(get(data) != item for item in operand)
        case "exists":
            return lambda data: (get(data) is not None) is operand
        case "matches":
            is_found = searcher(operand)
            return lambda data: isinstance(v := get(data), str) and is_found(v)
    raise ValueError(f"unknown operation {condition.operation!r}")
