"""A glance says "nothing" only where reading all of an event finds nothing in it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.glance import Glance, compile_glances
from src.plugins.alert_manager.domain.model import Event, RawEvent
from src.plugins.alert_manager.domain.outcome import Change, Judged
from src.plugins.alert_manager.domain.rule_spec import RuleSpec
from src.plugins.alert_manager.domain.rules import compile_rules
from src.plugins.alert_manager.domain.thresholds import StoredThresholds
from src.plugins.alert_manager.judge import MAX_DECODED, BatchJudge
from src.plugins.alert_manager.rule_settings import RuleSettings
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import shipped_config
from tests.plugins.hostile import CORPUS

THRESHOLDS = {"high": 20.0, "loss": 100.0}
NOW = 1_700_000_000.0
TRADE = {"plugin": "trading_execution", "user_id": "user1", "symbol": "BTC/USDT", "profit": 12.5}
FIXED = {"severity": "alta"}


def spec(**rule: Any) -> RuleSpec:
    words = {"name": "r", "channel": "c", "title": "t", "message": "m"}
    return RuleSettings(**{**words, **rule}).spec(3600.0, "UTC")


def glance(*rules: dict[str, Any]) -> Glance | None:
    specs = [spec(name=f"r{number}", **rule) for number, rule in enumerate(rules)]
    return compile_glances(specs, THRESHOLDS, but=()).get("c")


def measured(compare: str, limit: Any, **more: Any) -> dict[str, Any]:
    return {"field": "v", "compare": compare, "levels": {"alta": limit}, **more}


COUNTED = {"count_within": "1h", "levels": {"alta": 3}}
FALLS = measured("<=", -5, change="percent", change_within="1h")
RULES = [
    measured(">=", "high"),
    measured(">", 20),
    measured("<=", "-loss"),
    measured("<", -100, when={"kind": "x"}),
    measured(">=", 7, absolute=True),
    {**measured(">=", 1), "field": "w", "when": {"v": {"<": 3}}},
    {**FIXED, "when": {"w": {">": 3}, "v": {"<=": 5}}},
    {**COUNTED, "when": {"v": {"<": 0}, "user_id": {"exists": True}}},
    {**FALLS, "when": {"v": {">": 50}}},
    {**FIXED, "when": {"v": {">=": 90}}, "otherwise": True},
    {**FIXED, "expression": "w * 2 > 10", "when": {"v": {">": 30}}},
]


@pytest.mark.parametrize(
    ("rule", "nothing", "something"),
    [
        (measured(">=", "high"), math.nextafter(20, 0), 20.0),
        (measured(">", "high"), 20.0, math.nextafter(20, 21)),
        (measured("<=", "-loss"), math.nextafter(-100, 0), -100.0),
        (measured("<", "-loss"), -100.0, math.nextafter(-100, -101)),
        (measured(">=", 7, absolute=True), math.nextafter(-7, 0), -7.0),
        ({**FIXED, "when": {"v": {"<": 0}}}, 0.0, math.nextafter(0, -1)),
        (measured(">=", 7), -(10**300), 7),
    ],
)
def test_it_ends_where_the_first_limit_is(
    rule: dict[str, Any], nothing: float, something: float
) -> None:
    says_nothing = glance(rule)
    assert says_nothing is not None
    assert says_nothing(json.dumps({"w": [], "v": nothing}).encode())
    assert not says_nothing(json.dumps({"w": [], "v": something}).encode())


@pytest.mark.parametrize(
    "rule",
    [
        {**FIXED, "when": {"kind": "x"}},
        measured(">=", 7, expression="w > 10"),  # w may be no number
        {**measured(">=", 7), "field": "a.v"},
        {**measured(">=", 7), "field": 'precio "spot"'},
        {**measured(">=", 7), "field": "a\\b"},
        measured("<=", 7, absolute=True),
        measured(">=", -7, absolute=True),
        COUNTED,
        FALLS,
        measured(">=", 7, clear=5),
    ],
)
def test_what_one_number_does_not_tell_has_none(rule: dict[str, Any]) -> None:
    assert glance(rule) is None
    assert glance(measured(">=", 7), rule) is None


def test_rules_that_meet_nowhere_have_none() -> None:
    assert glance(measured(">=", 7), measured("<=", 7)) is None


def test_a_rule_of_several_channels_counts_in_each() -> None:
    rules = [spec(**measured(">=", 7), channel=["c", "d"]), spec(**FIXED, name="s", channel="d")]
    assert list(compile_glances(rules, THRESHOLDS, but=())) == ["c"]
    assert not compile_glances(rules, THRESHOLDS, but=("c",))


NUMBERS = st.floats(-150, 150) | st.integers(-150, 150) | st.sampled_from([20.0, -100.0, 7, 0, 90])
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=3) | st.sampled_from(["9", [1], {}])


@given(
    st.lists(st.sampled_from(RULES), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["v", "w", "kind", "user_id"]), VALUES),
)
def test_what_comes_to_nothing_at_a_glance_does_by_all_rules(
    rules: list[dict[str, Any]], data: dict[str, Any]
) -> None:
    specs = [spec(name=f"r{number}", **rule) for number, rule in enumerate(rules)]
    says_nothing = compile_glances(specs, THRESHOLDS, but=()).get("c")
    if says_nothing is not None and says_nothing(json.dumps(data).encode()):
        event = Event("eventos", 1, "c", data, NOW, None)
        assert compile_rules(specs, THRESHOLDS)(event) == []


def batch_judge(*, glances: bool) -> BatchJudge:
    judge = BatchJudge(check({**shipped_config(), "db_config": {"host": "x"}}))
    assert "trading_results" in judge._glances
    if not glances:
        judge._glances = {}
    return judge


AT_A_GLANCE, READ_WHOLE = batch_judge(glances=True), batch_judge(glances=False)


def raw(text: bytes, channel: str = "trading_results") -> RawEvent:
    payload = zstandard.compress(text)
    return RawEvent("eventos", 1, channel, payload, NOW, "corec1", len(payload))


def judged_alike(text: bytes) -> bool:
    """Says whether an event comes to the same with a glance as without one."""
    return AT_A_GLANCE.judge([raw(text)], NOW) == READ_WHOLE.judge([raw(text)], NOW)


@pytest.mark.parametrize(
    "value",
    [
        *(b"01", b"1.", b"+1", b"1e999", b"NaN", b"nul", b"tru", b"1 2", b"[1,]", b"{1:2}", b"0x1"),
        *(b'"\xff"', b'"\xc3\xa9"', b'"\x01"', b'"\\q"', b'"\\ud800"', b"9" * 400, b"9" * 5000),
        *(b"[" * 70 + b"]" * 70, b"[" * 5000, b"[" + b"{}," * 60 + b"{}]", b'"', b'"a"}{"b": 1'),
        *(b'"x", "profit": -9000', b'"x", "profit": null', b'"x", "profit": "-9000"', b"1}}", b""),
    ],
)
def test_what_is_wrong_beside_the_number_is_seen(value: bytes) -> None:
    assert judged_alike(b'{"profit": 12.5, "x": ' + value + b"}")


@pytest.mark.parametrize("text", [p for p in CORPUS.values() if len(p) < 100_000])
def test_hostile_texts_come_to_the_same(text: bytes) -> None:
    assert judged_alike(text)


@pytest.mark.parametrize("wrapped", [b'{"data": %s}', b"[%s]", b'{"data": %s, "profit": 1}'])
def test_what_is_around_it_is_seen(wrapped: bytes) -> None:
    for profit in (1, -9000):
        assert judged_alike(wrapped % json.dumps({**TRADE, "profit": profit}).encode())


@given(st.data())
def test_broken_texts_come_to_the_same(data: st.DataObject) -> None:
    text = bytearray(json.dumps({**TRADE, "note": ["é", {"a": 1}], "profit": 1.5}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2)
            | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"-"])
        )
    assert judged_alike(bytes(text))


def judged_by(config: dict[str, Any], channel: str, event: dict[str, Any]) -> Judged:
    judge = BatchJudge(check({**config, "db_config": {"host": "x"}}))
    return judge.judge([raw(json.dumps(event).encode(), channel)], NOW)


def test_what_an_event_tells_for_other_alerts_is_heard() -> None:
    config = shipped_config()
    told = {"channel": "trading_results", "fields": ["symbol"], "per": "user_id"}
    config["alert_config"]["context"] = {"operacion": told}
    assert judged_by(config, "trading_results", TRADE).observations


def test_a_command_is_followed_whatever_rules_say() -> None:
    config = shipped_config()
    words = {"name": "r", "title": "t", "message": "m"}
    rule = {**words, **measured(">=", 7), "channel": "alert_data"}
    config["alert_config"]["rules"].append(rule)
    config["channels"].append("alert_data")
    command = {"action": "update_threshold", "vix_threshold": 25, "plugin": "operador", "v": 1}
    assert judged_by(config, "alert_data", command).changes


def test_nearly_all_events_are_judged_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = batch_judge(glances=True)

    def read(_: Event) -> list[Any]:
        raise AssertionError("rules were asked")

    monkeypatch.setattr(judge, "_rules", read)
    judged = judge.judge([raw(json.dumps(TRADE).encode())] * 10, NOW)
    assert judged.events == 10
    assert not judged.dead_letters


def test_a_glance_goes_by_the_threshold_that_was_set() -> None:
    judge = batch_judge(glances=True)
    event = raw(json.dumps({**TRADE, "profit": 100.0}).encode())
    assert not judge.judge([event], NOW).candidates
    judge.use(StoredThresholds(1, {"gain": Change("gain", 200.0, 50.0, 200.0, NOW, "x")}))
    assert judge.judge([event], NOW).candidates


def test_what_is_skipped_counts_as_read() -> None:
    """Else a batch of small rows that unpack to gigabytes would have no end."""
    long = raw(json.dumps({**TRADE, "note": "x" * 900_000}).encode())
    judged = batch_judge(glances=True).judge([long] * 100, NOW)
    assert judged.events == MAX_DECODED // 900_000 + 1
