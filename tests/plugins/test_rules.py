"""Rules: at, just under and just over each bound; selectors; what is no number; templates."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.model import Event, Match, Observation, Severity
from src.plugins.alert_manager.domain.rules import Judge, compile_rules
from src.plugins.alert_manager.rule_settings import RuleSettings
from tests.support.pace import seconds

THRESHOLDS = {"vix": 20.0, "vix_critical": 40.0, "loss": 100.0, "roi": -5.0}
WORDS = {"title": "t", "message": "m"}


def judge_of(*rules: dict[str, Any]) -> Judge:
    specs = [
        RuleSettings(**{"channel": "c", **WORDS, **rule}).spec(3600.0, "UTC") for rule in rules
    ]
    return compile_rules(specs, THRESHOLDS)


def severities(judge: Judge, data: dict[str, Any], channel: str = "c") -> list[str]:
    event = Event("eventos", 1, channel, data, 0.0, None)
    return [match.severity.key for match in judge(event) if isinstance(match, Match)]


VIX = {"name": "vix", "field": "v", "compare": ">=", "levels": {"alta": "vix", "critica": 40}}
BELOW = {"name": "roi", "field": "v", "compare": "<", "levels": {"alta": "roi", "critica": -20}}
LOSS = {"name": "l", "field": "v", "compare": "<=", "levels": {"alta": "-loss"}}
ABOVE = {"name": "a", "field": "v", "compare": ">", "levels": {"media": 1}, "absolute": True}


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (VIX, 19.999999, []),
        (VIX, 20, ["alta"]),
        (VIX, 39.999999, ["alta"]),
        (VIX, 40, ["critica"]),
        (VIX, "40.0", ["critica"]),
        (BELOW, -5, []),
        (BELOW, -5.000001, ["alta"]),
        (BELOW, -20, ["alta"]),
        (BELOW, -20.000001, ["critica"]),
        (LOSS, -99.999, []),
        (LOSS, -100, ["alta"]),
        (ABOVE, 1, []),
        (ABOVE, -1, []),
        (ABOVE, 1.000001, ["media"]),
        (ABOVE, -1.000001, ["media"]),
        (VIX, None, []),
    ],
)
def test_levels_at_their_bounds(rule: dict[str, Any], value: Any, expected: list[str]) -> None:
    assert severities(judge_of(rule), {"v": value}) == expected


@pytest.mark.parametrize("value", ["\ud800", 10**400, math.nan, [{"a": None}], "x" * 10**5])
def test_whatever_a_key_holds_it_is_observed(value: Any) -> None:
    rule = {"name": "n", "count_within": "10m", "levels": {"alta": 2}, "per": ["v"]}
    found = [
        judge_of(rule)(Event("eventos", 1, "c", {"v": value, "other": value}, 0.0, None))
        for _ in range(2)
    ]
    assert all(isinstance(one, Observation) for [one] in found)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "alto", "", True, [], {}, "nan", "1" * 500, 10**400]
)
def test_a_compared_field_without_a_finite_number_is_an_alert(value: Any) -> None:
    [match] = judge_of(VIX)(Event("eventos", 1, "c", {"v": value}, 0.0, None))
    assert isinstance(match, Match)
    assert match.invalid
    assert match.severity is Severity.ALTA


@pytest.mark.parametrize(
    ("when", "data", "applies"),
    [
        ({"a": "x"}, {"a": "x"}, True),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": "x"}, {}, False),
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": ["x"]}, False),
        ({"a": {"not_in": ["x"]}}, {"a": "y"}, True),
        ({"a": {"not_in": ["x"]}}, {}, True),
        ({"a": {"ne": "x"}}, {"a": "x"}, False),
        ({"a.b": 1}, {"a": {"b": 1}}, True),
        ({"a.1.b": 1}, {"a": [0, {"b": 1}]}, True),
        ({"a.5.b": 1}, {"a": [0]}, False),
        ({"a": {"matches": "^Err"}}, {"a": "Error 5"}, True),
        ({"a": {"matches": "^Err"}}, {"a": 5}, False),
        ({"a": {"exists": True}}, {"a": 0}, True),
        ({"a": {"exists": False}}, {"a": None}, True),
        ({"a": {">": 1, "<": 3}}, {"a": 2}, True),
        ({"a": {">": 1, "<": 3}}, {"a": 3}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
    ],
)
def test_conditions(when: dict[str, Any], data: dict[str, Any], applies: bool) -> None:
    judge = judge_of({"name": "r", "when": when, "severity": "baja"})
    assert severities(judge, data) == (["baja"] if applies else [])


LARGE = "quantity * price > 50000 and side in ['buy', 'sell']"
NESTED = "(precios.ask|float - precios.bid|float) / precios.bid|float > 0.02"


@pytest.mark.parametrize(
    ("expression", "data", "applies"),
    [
        (LARGE, {"quantity": 2, "price": 25_000.01, "side": "buy"}, True),
        (LARGE, {"quantity": 2, "price": 25_000, "side": "buy"}, False),
        (LARGE, {"quantity": 2, "price": 90_000, "side": "hold"}, False),
        (LARGE, {"quantity": 2, "side": "buy"}, False),  # nothing was measured
        (LARGE, {}, False),
        (NESTED, {"precios": {"ask": "102.1", "bid": "100"}}, True),
        (NESTED, {"precios": {"ask": 102, "bid": 100}}, False),
        (NESTED, {"precios": {"ask": 102}}, False),
        ("symbol.endswith('/EUR') and fee is not defined", {"symbol": "BTC/EUR"}, True),
        ("symbol.endswith('/EUR') and fee is not defined", {"symbol": "BTC/EUR", "fee": 1}, False),
        ("recommendations|length >= 3", {"recommendations": [1, 2, 3]}, True),
        ("falta", {}, False),
        ("ask > bid", {"ask": "9.5", "bid": "10.2"}, False),  # as texts it would be
        ("ask > bid", {"ask": "10.2", "bid": 9.5}, True),
        ("1 < n <= 3 == m", {"n": 3, "m": 3}, True),
        ("1 < n <= 3 == m", {"n": 4, "m": 3}, False),
        ("ask > 1 or otra", {"ask": None, "otra": True}, False),  # null: nothing was measured
        ("ask * 2 > 1", {"ask": None}, False),
        ("ask|abs > 1", {"ask": None}, False),
        ("ask|abs > 1", {"ask": "-2"}, True),
        ("losses|max > 1", {"losses": ["0.5", 2]}, True),
        ("losses|max > 1", {"losses": []}, False),
        ("positions|sum(attribute='loss') > 5", {"positions": [{"loss": 3}, {"loss": 3}]}, True),
        ("positions|sum(attribute='loss') > 5", {"positions": [{"loss": 9}, {}]}, False),
    ],
)
def test_expressions(expression: str, data: dict[str, Any], applies: bool) -> None:
    judge = judge_of({"name": "r", "expression": expression, "severity": "alta"})
    assert severities(judge, data) == (["alta"] if applies else [])


@pytest.mark.parametrize(
    ("expression", "data", "shown"),
    [
        (LARGE, {"quantity": "mucho", "price": 3, "side": "buy"}, "mucho"),
        (LARGE, {"quantity": math.nan, "price": 3, "side": "buy"}, math.nan),
        (LARGE, {"quantity": math.inf, "price": 3, "side": "buy"}, math.inf),
        ("fee|float > 1", {"fee": "gratis"}, "gratis"),
        ("a / b > 1", {"a": 1, "b": 0}, "una división entre cero"),
        ("a > 1", {"a": "mucho"}, "mucho"),
        ("a > 1", {"a": True}, True),
        ("a > 1", {"a": [3]}, [3]),
        ("a.b < 1", {"a": {"b": math.nan}}, math.nan),
        ("a|max < 1", {"a": [0, math.nan]}, math.nan),
        ("a|sum(attribute='b') < 1", {"a": [{"b": math.nan}]}, math.nan),
    ],
)
def test_what_an_expression_cannot_compute_with_is_an_alert(
    expression: str, data: dict[str, Any], shown: Any
) -> None:
    judge = judge_of({"name": "r", "expression": expression, "severity": "alta"})
    (match,) = judge(Event("eventos", 1, "c", data, 0.0, None))
    assert isinstance(match, Match)
    assert match.invalid
    assert str(match.value) == str(shown)


def test_an_expression_reaches_nothing_but_the_event() -> None:
    data: dict[str, Any] = {"a": {"x": 1}}
    for expression in ("''.__class__.__mro__", "a.__init__.__globals__", "a.update({'b': 1})"):
        judge = judge_of({"name": "r", "expression": expression, "severity": "alta"})
        found = judge(Event("eventos", 1, "c", data, 0.0, None))
        assert all(isinstance(match, Match) and match.invalid for match in found)
    assert (
        severities(judge_of({"name": "r", "expression": "range(9)", "severity": "alta"}), {}) == []
    )
    with pytest.raises(ValueError, match=r"expresión inválida.*'int'"):
        judge_of({"name": "r", "expression": "a|int", "severity": "alta"})
    assert data == {"a": {"x": 1}}


def test_an_expression_that_does_not_hold_leaves_others_to_speak() -> None:
    large = {"name": "r", "expression": LARGE, "severity": "alta"}
    other = {"name": "otro", "otherwise": True, "severity": "media"}
    judge = judge_of(large, other)
    assert severities(judge, {"tipo": "incendio"}) == ["media"]
    assert severities(judge, {"quantity": 2, "price": 90_000, "side": "buy"}) == ["alta"]
    assert severities(judge, {"quantity": "?", "price": 90_000, "side": "buy"}) == ["alta"]


@pytest.mark.parametrize("expression", ["side > 'a' or true", "'x' + side == 'xbuy'"])
def test_what_could_never_be_computed_is_refused_at_once(expression: str) -> None:
    with pytest.raises(ValueError, match=r"expresión inválida.* números"):
        judge_of({"name": "r", "expression": expression, "severity": "alta"})


def test_an_invalid_value_is_told_where_the_other_conditions_hold() -> None:
    rule = {"name": "r", "when": {"a": "x", "n": {">": 1}}, "expression": "b > 1"}
    judge = judge_of({**rule, "severity": "alta"})
    assert severities(judge, {"a": "x", "n": 2, "b": "?"}) == ["alta"]
    assert severities(judge, {"a": "x", "n": 1, "b": "?"}) == []
    assert severities(judge, {"a": "y", "n": 2, "b": "?"}) == []


def test_no_event_makes_an_expression_slow() -> None:
    judge = judge_of({"name": "r", "expression": "a * b > 1 or a ** b > 1", "severity": "alta"})

    def judges() -> None:
        hostile = (("x" * 10**6, 10**9), (10**300, 10**300), ([1] * 10**5, 10**9), (9.9, 1e9))
        for left, right in hostile:
            assert severities(judge, {"a": left, "b": right}) == ["alta"]

    assert seconds(judges) < 0.5


@given(
    st.dictionaries(
        st.sampled_from(["quantity", "price", "side"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())
        ),
    )
)
def test_no_event_breaks_an_expression(data: dict[str, Any]) -> None:
    judge = judge_of({"name": "r", "expression": LARGE, "severity": "alta"})
    assert all(isinstance(match, Match) for match in judge(Event("s", 1, "c", data, 0.0, None)))


def test_a_channel_that_is_named_twice_is_looked_at_once() -> None:
    judge = judge_of({"name": "r", "channel": ["c", "c"], "severity": "alta"})
    assert severities(judge, {}) == ["alta"]


def test_otherwise_speaks_only_where_no_other_rule_applied() -> None:
    judge = judge_of(
        {"name": "rest", "otherwise": True, "severity": "media"},
        {"name": "known", "when": {"tipo": "auditoria"}, "field": "n", "compare": ">",
         "levels": {"alta": 100}},
    )  # fmt: skip
    assert severities(judge, {"tipo": "auditoria", "n": 3}) == []
    assert severities(judge, {"tipo": "auditoria", "n": 101}) == ["alta"]
    assert severities(judge, {"tipo": "nuevo"}) == ["media"]
    assert severities(judge, {"tipo": "nuevo"}, channel="otro") == []


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_higher_value_never_gives_a_lower_severity(one: float, other: float) -> None:
    judge = judge_of(VIX)

    def level(value: float) -> int:
        return max((Severity.parse(s) for s in severities(judge, {"v": value})), default=0)

    low, high = sorted((one, other))
    assert level(low) <= level(high)


def test_a_rule_that_awaits_an_event_does_not_speak_for_it() -> None:
    beat = {"name": "latido", "absent_for": "1h", "severity": "alta"}
    other = {"name": "otro", "otherwise": True, "severity": "media"}
    assert severities(judge_of(beat, other), {"tipo": "nuevo"}) == ["media"]
