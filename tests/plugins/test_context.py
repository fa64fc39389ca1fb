"""What alerts carry beside their event: the market, the pool, the user, as known at that time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.context import Context, ContextSpec, merged
from src.plugins.alert_manager.domain.context import given as carried
from src.plugins.alert_manager.domain.model import Event, Facts
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import to_json

LOSS: dict[str, Any] = {
    "profit": -150.0,
    "symbol": "BTC/USDT",
    "exchange": "kraken",
    "user_id": "ana",
}


def contexts(world: World, rule: str = "perdida") -> list[dict[str, Any] | None]:
    return [a["event_data"].get("context") for a in world.alerts() if a["rule"] == rule]


def write(world: World, canal: str, timestamp: float | None = None, **data: Any) -> None:
    world.write(canal, to_json(data), timestamp)


async def test_a_loss_carries_the_market_the_pool_and_the_user(world: World) -> None:
    now = time.time()
    async with world.running():
        write(world, "trading_results", now, **LOSS)
        write(world, "macro_data", now + 1, vix_price=15.5, sp500_price=4500.0, news=["x"])
        write(world, "settlement_data", now + 2, roi_percent=1.0, pool_total=9000, phase="calm")
        user: dict[str, Any] = {
            "user_id": "ana",
            "name": "Ana",
            "role": "admin",
            "password": "hunter2",
        }
        write(world, "user_data", now + 3, action="register", **user)
        write(world, "trading_results", now + 4, **{**LOSS, "profit": -151.0})
        write(world, "macro_data", now + 5, vix_price=16.5)
        write(world, "trading_results", now + 6, **{**LOSS, "user_id": "beto", "profit": -152.0})
        await eventually(lambda: len(contexts(world)) == 3)
    first, second, third = contexts(world)
    assert first is None
    pool = {"pool_total": 9000, "phase": "calm", "timestamp": now + 2}
    macro = {"vix_price": 15.5, "sp500_price": 4500.0, "timestamp": now + 1}
    assert second == {
        "macro": macro,
        "pool": pool,
        "usuario": {"name": "Ana", "role": "admin", "timestamp": now + 3},
    }
    assert third == {"macro": {**macro, "vix_price": 16.5, "timestamp": now + 5}, "pool": pool}
    # What else is known does not make two alerts of one.
    assert {a["occurrences"] for a in world.alerts()} == {1}


async def test_the_same_event_is_the_same_alert_whatever_is_known_meanwhile(
    world: World, streams: Streams
) -> None:
    async with world.running():
        write(world, "trading_results", **LOSS)
        await eventually(lambda: len(contexts(world)) == 1)
        write(world, "macro_data", vix_price=15.5)
        streams.add("trading_results", to_json(LOSS))
        await eventually(lambda: world.alert("SELECT from_streams FROM alerts") == [(1,)])
    assert contexts(world) == [None]


async def test_what_is_known_outlives_kill_9_and_comes_by_any_source(
    world: World, streams: Streams, tmp_path: Path
) -> None:
    with host(world, tmp_path / "h") as process:
        streams.add("macro_data", to_json({"vix_price": 15.5}))
        known = "SELECT count(*) FROM rule_states WHERE rule = 'contexto:macro'"
        installed = "SELECT to_regclass('rule_states') IS NOT NULL"
        await eventually(
            lambda: world.alert(installed) == [(True,)] and world.alert(known) == [(1,)], 60.0
        )
        process.kill()
    async with world.running():
        write(world, "trading_results", **LOSS)
        await eventually(lambda: len(contexts(world)) == 1)
    [context] = contexts(world)
    assert context is not None
    assert context["macro"]["vix_price"] == 15.5


@pytest.mark.long
async def test_prices_that_stop_carry_the_market_too(world: World) -> None:
    async with world.running():
        write(world, "macro_data", vix_price=15.5)
        write(world, "market_data", time.time() - 400, symbol="BTC/USDT", price=1.0)
        await eventually(lambda: len(contexts(world, "precio_parado")) == 1)
    [context] = contexts(world, "precio_parado")
    assert context is not None
    assert context["macro"]["vix_price"] == 15.5


SPEC = ContextSpec("u", "users", {"name": ("name",)}, ("id",), frozenset({"trades"}))


def event(data: dict[str, Any], channel: str = "users", timestamp: float = 1.0) -> Event:
    return Event("eventos", 1, channel, data, timestamp, None)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"id": 1, "name": "Ana"}, {"name": "Ana"}),
        ({"id": 1, "name": "x" * 1000}, {"name": "x" * 200}),
        ({"id": 1, "name": "password=hunter2"}, {"name": "[oculto]"}),
        (
            {"id": 1, "name": "x" * 165 + " postgres://corec:hunter2hunter2hunter2@db/corec"},
            {"name": "x" * 165 + " postgres://[oculto]@db/corec"},
        ),
        ({"id": 1, "name": {"a": 1}}, None),
        ({"id": 1, "name": None}, None),
        ({"name": "Ana"}, None),
    ],
)
def test_what_an_event_tells(data: dict[str, Any], expected: dict[str, Any] | None) -> None:
    learned = Context([SPEC]).learned(event(data))
    assert [one.facts.values for one in learned] == ([] if expected is None else [expected])


def test_what_an_alert_is_given_is_what_is_known_of_its_own_key() -> None:
    context = Context([SPEC])
    known = {one.key: one.facts for one in context.learned(event({"id": 1, "name": "Ana"}))}
    assert carried(context.wanted("trades", {"id": 1}), known) == {
        "u": {"name": "Ana", "timestamp": 1.0}
    }
    assert carried(context.wanted("trades", {"id": 2}), known) == {}
    assert context.wanted("trades", {}) == ()
    assert context.wanted("users", {"id": 1}) == ()
    assert context.wanted("others", {"id": 1}) == ()


FACTS = st.builds(
    Facts,
    st.integers(0, 100).map(float),
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
)


@given(st.lists(FACTS, min_size=1, max_size=6, unique_by=lambda facts: facts.time))
def test_the_newest_word_on_each_field_counts_in_any_order(told: list[Facts]) -> None:
    known = None
    for facts in sorted(told, key=lambda facts: facts.time):
        known = merged(known, facts)
    backwards = None
    for facts in sorted(told, key=lambda facts: -facts.time):
        backwards = merged(backwards, facts)
    assert known == backwards
