"""10,000 hostile payloads: each an alert, no alert or a dead letter; quick, in bounded memory."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.model import RawEvent
from src.plugins.alert_manager.domain.outcome import Judged
from src.plugins.alert_manager.judge import BatchJudge
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import World, eventually, shipped_config
from tests.plugins.hostile import CORPUS, payloads
from tests.support.pace import slowness

COUNT = 10_000
MOST_MEMORY = 64 << 20  # bytes
SLOWEST = 0.25  # seconds of processor time, on the reference machine
CHANNELS = ("alertas", "trading_results", "capital_data", "macro_data", "settlement_data")


def judge() -> BatchJudge:
    return BatchJudge(check({**shipped_config(), "db_config": {"host": "x"}}))


def raw(event_id: int, channel: str, payload: bytes, timestamp: float | None = None) -> RawEvent:
    return RawEvent("eventos", event_id, channel, payload, timestamp, "corec1", len(payload))


def timed(judged: BatchJudge, event: RawEvent) -> tuple[Judged, float]:
    """Judges; returns the seconds of processor time too."""
    started = time.thread_time()
    result = judged.track(judged.judge([event], time.time()), {})
    return result, time.thread_time() - started


def resident() -> int:
    """Bytes of memory in use by this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def test_each_is_an_alert_no_alert_or_a_dead_letter_and_quick() -> None:
    judged = judge()
    choose = random.Random(3)
    outcomes = {"alert": 0, "dead letter": 0, "no alert": 0}
    slow: list[tuple[str, float]] = []
    before = None
    for number, (name, payload) in enumerate(payloads(COUNT, seed=3)):
        # Every event of `alertas` that can be read becomes an alert: the longest way there is.
        channel = "alertas" if number < len(CORPUS) else choose.choice(CHANNELS)
        event = raw(number, channel, payload, choose.choice([None, 1e300, -1.0]))
        result, seconds = timed(judged, event)
        if seconds > SLOWEST:  # by itself, or by what else the machine does?
            seconds = min(timed(judged, event)[1] for _ in range(3)) / slowness()
        if seconds > SLOWEST:
            slow.append((name, seconds))
        assert result.events == 1
        assert len(result.dead_letters) <= 1
        assert not (result.dead_letters and result.candidates)
        assert all(letter.reason for letter in result.dead_letters), name
        assert not any("fallo interno" in letter.reason for letter in result.dead_letters), name
        kind = "alert" if result.candidates else "no alert"
        outcomes["dead letter" if result.dead_letters else kind] += 1
        if number == 500:
            before = resident()  # what is loaded once is loaded
    assert not slow
    assert sum(outcomes.values()) == COUNT
    assert all(count > 100 for count in outcomes.values()), outcomes
    assert before is not None
    assert resident() - before < MOST_MEMORY


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(CHANNELS),
    st.binary(max_size=400) | st.text(max_size=400).map(str.encode),
    st.none() | st.floats(),
)
def test_whatever_comes_is_judged(channel: str, payload: bytes, timestamp: float | None) -> None:
    result = judge_once.judge([raw(1, channel, payload, timestamp)], time.time())
    result = judge_once.track(result, {})
    assert result.events == 1
    assert not any("fallo interno" in letter.reason for letter in result.dead_letters)


judge_once = judge()


@pytest.mark.long
async def test_a_running_plugin_takes_them_all_and_its_loop_never_stops(world: World) -> None:
    count = 1200
    slowest = 0.0
    stop = asyncio.Event()

    async def measure() -> None:
        nonlocal slowest
        while not stop.is_set():
            started = time.perf_counter()
            await asyncio.sleep(0.01)
            slowest = max(slowest, time.perf_counter() - started - 0.01)

    choose = random.Random(5)
    written = [
        world.write(choose.choice(CHANNELS), payload) for _, payload in payloads(count, seed=5)
    ]
    last = world.write("alertas", b'{"tipo": "t", "plugin": "the end"}')
    totals = dict.fromkeys(("events", "alerts", "repeats", "dead_letters"), 0)
    async with world.running() as processor:
        measuring = asyncio.create_task(measure())
        await eventually(
            lambda: world.alert("SELECT 1 FROM alerts WHERE event_id = %s", (last,)), 90.0
        )
        stop.set()
        await measuring
        result = await processor.procesar({}, {})
    for name in totals:
        totals[name] += result[name]
    stored = world.alert(
        "SELECT (SELECT count(*) FROM alerts), (SELECT sum(occurrences) FROM alerts),"
        " (SELECT count(*) FROM dead_letters), (SELECT count(DISTINCT event_id) FROM dead_letters)"
    )
    alerts, occurrences, dead, distinct = stored[0]
    assert totals["events"] >= len(written) + 1  # our own reports come by, too
    assert totals["alerts"] == alerts
    assert totals["alerts"] + totals["repeats"] == occurrences
    assert totals["dead_letters"] == dead == distinct
    assert dead > 100
    assert slowest < 1.0
