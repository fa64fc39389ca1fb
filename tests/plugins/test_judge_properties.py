"""What holds for any events: a cut replay is the same, keys are apart, worse is not less."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from src.plugins.alert_manager.domain.model import RawEvent, StateKey, StoredState
from src.plugins.alert_manager.domain.outcome import Candidate, Change, Resolution
from src.plugins.alert_manager.domain.thresholds import StoredThresholds
from src.plugins.alert_manager.judge import BatchJudge
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import shipped_config

NOW = 1_763_872_000.0
LOADED = check(shipped_config())


def raw(number: int, canal: str, payload: dict[str, Any], age: float) -> RawEvent:
    text = json.dumps(payload).encode()
    return RawEvent("eventos", number, canal, text, NOW - age, "corec1", len(text))


PRICES = st.builds(
    lambda symbol, price: ("market_data", {"symbol": symbol, "price": price}),
    st.sampled_from(["BTC", "ETH"]),
    st.integers(50, 150),
)
VIX = st.integers(10, 50).map(lambda value: ("macro_data", {"vix_price": value}))
ERRORS = st.sampled_from(["kraken", "okx"]).map(
    lambda name: ("alertas", {"tipo": "api_error", "plugin": "p", "exchange": name})
)
LOSSES = st.builds(
    lambda user, profit: ("trading_results", {"profit": profit, "user_id": user}),
    st.sampled_from(["ana", "beto"]),
    st.integers(-2000, 300),
)
SETTLEMENTS = st.integers(-30, 5).map(
    lambda roi: ("settlement_data", {"roi_percent": roi, "pool_total": 9000})
)
ORDERS = st.sampled_from([100, 150, 300, 5000]).map(
    lambda value: ("alert_data", {"action": "update_threshold", "loss_threshold": value})
)
TOLD = st.one_of(PRICES, VIX, ERRORS, LOSSES, SETTLEMENTS, ORDERS)
EVENTS = st.lists(st.tuples(TOLD, st.integers(0, 400)), max_size=40).map(
    lambda told: [
        raw(number, canal, payload, 20_000.0 - 97.0 * number + late)
        for number, ((canal, payload), late) in enumerate(told)
    ]
)


class Replay:
    """Judges batches one after the other, as a running plugin does, with the states in memory."""

    def __init__(self) -> None:
        self.judge = BatchJudge(LOADED)
        self.states: dict[StateKey, StoredState] = {}
        self.told: list[Candidate] = []
        self.over: list[Resolution] = []
        self.changes: dict[str, Change] = {}

    def feed(self, events: Sequence[RawEvent]) -> None:
        while events:
            judged = self.judge.judge(events, NOW)
            known = {key: self.states[key] for key in judged.keys & self.states.keys()}
            judged = self.judge.track(judged, known)
            # Some have their words already, which depends on what comes with them.
            self.told += [replace(one, words=one.words.say()) for one in judged.candidates]
            self.over += judged.resolutions
            for key, stored in judged.states.items():
                self.states[key] = stored._replace(version=stored.version + 1)
            if judged.changes:
                self.changes |= {change.name: change for change in judged.changes}
                self.judge.use(StoredThresholds(len(self.changes), dict(self.changes)))
            events = events[judged.events :]


def replayed(batches: Iterable[Sequence[RawEvent]]) -> Replay:
    replay = Replay()
    for batch in batches:
        replay.feed(batch)
    return replay


@settings(deadline=None, max_examples=200)
@given(EVENTS, st.lists(st.integers(0, 40), max_size=6))
def test_a_replay_that_was_cut_anywhere_comes_to_the_same(
    events: list[RawEvent], cuts: list[int]
) -> None:
    edges = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    parts = [events[begin:end] for begin, end in pairwise(edges)]
    whole, cut = replayed([events]), replayed(parts)
    assert cut.told == whole.told
    assert cut.over == whole.over
    assert cut.changes == whole.changes
    assert {k: s.text for k, s in cut.states.items()} == {
        k: s.text for k, s in whole.states.items()
    }


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(PRICES, ERRORS), max_size=30), st.randoms())
def test_the_order_of_independent_keys_does_not_matter(
    told: list[tuple[str, dict[str, Any]]], random: Any
) -> None:
    events = [raw(i, canal, data, 10_000.0 - 60.0 * i) for i, (canal, data) in enumerate(told)]
    by_key: dict[str, list[RawEvent]] = {}
    for event, (_, data) in zip(events, told, strict=True):
        by_key.setdefault(str(data.get("symbol") or data.get("exchange")), []).append(event)
    mixed: list[RawEvent] = []
    waiting = [list(those) for those in by_key.values()]
    while waiting := [those for those in waiting if those]:
        mixed.append(random.choice(waiting).pop(0))

    def found(replay: Replay) -> list[tuple[int | None, str, str, bytes]]:
        return sorted(
            ((c.event_id or 0, c.rule, c.severity.key, c.fingerprint) for c in replay.told),
        )

    assert found(replayed([mixed])) == found(replayed([events]))


RULES = {rule.name: rule for rule in LOADED.settings.alert_config.rules if rule.levels}
DIRECT: dict[str, Callable[[float], tuple[str, dict[str, Any]]]] = {
    "perdida": lambda v: ("trading_results", {"profit": -v}),
    "ganancia": lambda v: ("trading_results", {"profit": v}),
    "retiro": lambda v: ("capital_data", {"action": "withdraw", "amount": v}),
    "vix": lambda v: ("macro_data", {"vix_price": v}),
    "dxy": lambda v: ("macro_data", {"dxy_change_percent": -v}),
    "roi": lambda v: ("settlement_data", {"roi_percent": -v}),
    "prediccion_imprecisa": lambda v: ("corec_stream_corec1", {"mse": v}),
}


@settings(deadline=None)
@given(
    st.sampled_from(sorted(DIRECT)),
    st.floats(0, 20_000, allow_nan=False),
    st.floats(0, 20_000, allow_nan=False),
)
def test_a_worse_value_is_never_less_urgent(rule: str, one: float, other: float) -> None:
    def urgency(value: float) -> int:
        canal, payload = DIRECT[rule](value)
        told = replayed([[raw(1, canal, payload, 0.0)]]).told
        return max((int(c.severity) for c in told if c.rule == rule), default=0)

    assert rule in RULES
    assert urgency(min(one, other)) <= urgency(max(one, other))
