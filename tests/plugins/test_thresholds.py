"""Thresholds changed at run time by commands on `alert_data`: checked, kept, audited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.model import Event
from src.plugins.alert_manager.domain.outcome import Change
from src.plugins.alert_manager.domain.thresholds import (
    CommandError,
    StoredThresholds,
    current,
    read_command,
)
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import to_json

CONFIGURED = {"vix": (20.0, 10.0, 80.0), "vix_critical": (40.0, 15.0, 90.0)}
NOW = 1_763_872_000.0


def fault(values: Mapping[str, float]) -> str | None:
    return None if values["vix"] < values["vix_critical"] else "vix < vix_critical"


def read(stored: StoredThresholds | None = None, /, **command: Any) -> dict[str, float]:
    data = {"action": "update_threshold", **command}
    event = Event("eventos", 1, "alert_data", data, NOW, "corec1")
    thresholds = current(CONFIGURED, stored or StoredThresholds())
    return {change.name: change.new for change in read_command(event, thresholds, fault)}


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ({"vix_threshold": 22}, {"vix": 22.0}),
        ({"vix_threshold": "22.5"}, {"vix": 22.5}),
        ({"vix_threshold": 10, "vix_critical_threshold": 15}, {"vix": 10.0, "vix_critical": 15.0}),
        ({"vix_threshold": 50, "vix_critical_threshold": 60}, {"vix": 50.0, "vix_critical": 60.0}),
        ({"vix_threshold": 20}, {}),
        ({"vix_threshold": 22, "plugin": "system_analyzer", "timestamp": 1}, {"vix": 22.0}),
    ],
)
def test_a_command_changes_what_it_names(
    command: dict[str, Any], changed: dict[str, float]
) -> None:
    assert read(**command) == changed


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ({}, "vix_threshold: 22"),
        ({"vix": 22}, "sin umbral"),
        ({"action": "reboot", "vix_threshold": 22}, "'reboot'; se permite: update_threshold"),
        ({"action": ["x"], "vix_threshold": 22}, "se permite: update_threshold"),
        ({"vex_threshold": 22}, "vex_threshold; se permite: vix_threshold, vix_critical_thr"),
        ({"vix_threshold": 22, "vex_threshold": 1}, "vex_threshold"),
        ({"vix_threshold": "mucho"}, "se espera un número"),
        ({"vix_threshold": None}, "se espera un número"),
        ({"vix_threshold": True}, "se espera un número"),
        ({"vix_threshold": float("nan")}, "se espera un número"),
        ({"vix_threshold": 9.99}, "se encontró 9.99; se permite de 10 a 80"),
        ({"vix_threshold": 80.01}, "se permite de 10 a 80"),
        ({"vix_threshold": 45}, "no tendrían sentido: vix < vix_critical"),
        ({"password=hunter2_threshold": 1}, "oculto"),
    ],
)
def test_a_bad_command_changes_nothing_and_says_why(command: dict[str, Any], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        read(**command)


def changed(new: float, base: float = 20.0, timestamp: float = NOW) -> StoredThresholds:
    return StoredThresholds(1, {"vix": Change("vix", 20.0, new, base, timestamp, "x")})


def test_who_edits_the_file_speaks_last() -> None:
    assert current(CONFIGURED, changed(22))["vix"].value == 22
    assert current(CONFIGURED, changed(22, base=19))["vix"].value == 20
    assert current(CONFIGURED, changed(81))["vix"].value == 20  # the bounds are narrower now


def test_a_command_older_than_the_last_change_is_refused_unless_it_says_the_same() -> None:
    newer = changed(25, timestamp=NOW + 1)
    assert read(newer, vix_threshold=25) == {}
    with pytest.raises(CommandError, match="más nueva"):
        read(newer, vix_threshold=22)


def test_a_command_that_comes_by_the_second_road_is_no_older_one() -> None:
    first = Change("vix", 20.0, 22.0, 20.0, NOW - 0.004, "x")
    stored = StoredThresholds().changed_by([first])
    stored = stored.changed_by([first._replace(old=22.0, new=25.0, timestamp=NOW + 60)])
    assert read(stored, vix_threshold=22) == {}
    with pytest.raises(CommandError, match="más nueva"):
        read(stored, vix_threshold=23)


@given(st.dictionaries(st.text(max_size=20), st.none() | st.integers() | st.text(max_size=9)))
def test_no_command_breaks_anything(command: dict[str, Any]) -> None:
    try:
        wanted = read(**{**command, "action": "update_threshold"})
    except CommandError:
        return
    assert all(10 <= value <= 90 for value in wanted.values())


def gain(world: World, profit: float) -> None:
    world.write("trading_results", to_json({"profit": profit, "symbol": f"S{profit}"}))


def order(world: World, **values: Any) -> None:
    world.write("alert_data", to_json({"action": "update_threshold", **values}))


def gains(world: World) -> list[str]:
    return [a["event_data"]["symbol"] for a in world.alerts() if a["rule"] == "ganancia"]


AUDIT = "SELECT name, old_value, new_value, changed_by FROM threshold_changes ORDER BY id"


def audited(world: World) -> list[tuple[Any, ...]]:
    installed = world.alert("SELECT to_regclass('threshold_changes') IS NOT NULL")
    return world.alert(AUDIT) if installed == [(True,)] else []


async def test_events_before_and_after_a_command_are_judged_each_by_their_own(
    world: World,
) -> None:
    gain(world, 201)
    order(world, gain_threshold=300, plugin="system_analyzer")
    gain(world, 202)
    order(world, gain_threshold=400, user_id="ana")
    gain(world, 301)
    order(world, gain_threshold=150)
    gain(world, 151)
    async with world.running():  # all of it is one fetch
        await eventually(lambda: gains(world) == ["S201", "S151"])
        await eventually(
            lambda: (
                world.alert(AUDIT)
                == [
                    ("gain", 200.0, 300.0, "system_analyzer (corec1)"),
                    ("gain", 300.0, 400.0, "ana (corec1)"),
                    ("gain", 400.0, 150.0, "sin nombre (corec1)"),
                ]
            )
        )
    assert world.alert("SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_changed_threshold_is_kept_through_kill_9_until_the_file_says_otherwise(
    world: World, tmp_path: Path
) -> None:
    with host(world, tmp_path / "h") as process:
        order(world, gain_threshold=300)
        await eventually(lambda: audited(world), 60.0)
        process.kill()
    async with world.running():
        gain(world, 260)
        gain(world, 310)
        await eventually(lambda: gains(world) == ["S310"])
    world.config["alert_config"]["thresholds"]["gain"] = 210
    async with world.running():
        gain(world, 220)
        await eventually(lambda: gains(world) == ["S310", "S220"])


async def test_a_bad_command_is_a_dead_letter_with_its_reason(world: World) -> None:
    async with world.running():
        order(world, gain_threshold=300_000)
        world.write("alert_data", to_json({"action": "drop_tables"}))
        world.write("alert_data", "{{{")
        gain(world, 250)
        await eventually(lambda: gains(world) == ["S250"])
        await eventually(lambda: world.alert("SELECT count(*) FROM dead_letters") == [(3,)])
    reasons = [row[0] for row in world.alert("SELECT reason FROM dead_letters ORDER BY id")]
    assert reasons[0] == (
        "orden rechazada: gain_threshold: se encontró 300000; se permite de 20 a 2000"
    )
    assert reasons[1].startswith("orden rechazada: action: se encontró 'drop_tables'")
    assert world.alert(AUDIT) == []


async def test_a_command_by_stream_counts_for_every_source_and_its_twin_changes_nothing(
    world: World, streams: Streams
) -> None:
    async with world.running():
        streams.add("alert_data", to_json({"action": "update_threshold", "gain_threshold": 300}))
        await eventually(lambda: world.alert(AUDIT))
        gain(world, 250)
        gain(world, 350)
        await eventually(lambda: gains(world) == ["S350"])
        order(world, gain_threshold=300)
        gain(world, 351)
        await eventually(lambda: gains(world) == ["S350", "S351"])
    assert len(world.alert(AUDIT)) == 1


async def test_another_instance_judges_by_a_threshold_that_was_just_changed(
    world: World, streams: Streams
) -> None:
    async with world.running("corec1") as first, world.running("corec2"):
        # The second has judged something by the old threshold, by what the host hands over.
        gain(world, 201)
        await eventually(lambda: gains(world) == ["S201"])
        order(world, gain_threshold=300)
        await eventually(lambda: world.alert(AUDIT))
        await first.detener()
        gain(world, 250)
        gain(world, 350)
        await eventually(lambda: gains(world) == ["S201", "S350"])


async def test_commands_of_two_sources_at_once_each_name_what_was_before(
    world: World, streams: Streams
) -> None:
    async with world.running():

        def by_table() -> None:
            for number in range(40):
                order(world, gain_threshold=200 + number)

        def by_stream() -> None:
            for number in range(40):
                command = {"action": "update_threshold", "gain_threshold": 400 + number}
                streams.add("alert_data", to_json(command))
                time.sleep(0.005)

        await asyncio.gather(asyncio.to_thread(by_table), asyncio.to_thread(by_stream))
        order(world, gain_threshold=777)
        await eventually(lambda: world.alert(AUDIT)[-1:] and world.alert(AUDIT)[-1][2] == 777)
    audit = world.alert(AUDIT)
    assert all(later[1] == earlier[2] for earlier, later in pairwise(audit))


async def test_our_own_reports_come_back_and_are_no_commands(world: World) -> None:
    text = "é" * 120_000
    big = {"tipo": "circuit_breaker_tripped", "x": [[]] * 99_000, "t": text}
    async with world.running():
        world.write("alertas", to_json(big))
        reports = "SELECT count(*) FROM eventos WHERE canal = 'alert_data'"
        await eventually(lambda: world.corec(reports) == [(1,)])
        gain(world, 201)
        await eventually(lambda: gains(world) == ["S201"])
    assert world.alert("SELECT reason FROM dead_letters") == []
