"""A replay in several processes: the same as in one, and none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.rule_spec import RuleSpec
from src.plugins.alert_manager.domain.shares import independent, shared_out
from src.plugins.alert_manager.utils import replays
from tests.plugins.conftest import PROJECT, SCHEMA, World, show_to_commands
from tests.plugins.histories import history, insert
from tests.plugins.test_backtest import backtest, run

HOUR = 3600.0
CHANNELS = list("abcdef")


def spec(name: str, channels: list[str]) -> RuleSpec:
    return RuleSpec(name, tuple(channels), "t", "m", 0.0)


@given(
    st.lists(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True), max_size=5),
    st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 1000)),
    st.integers(1, 8),
)
def test_no_rule_is_torn_apart_and_no_channel_is_left_out(
    rules: list[list[str]], rows: dict[str, int], count: int
) -> None:
    specs = [spec(str(number), channels) for number, channels in enumerate(rules)]
    groups = independent(CHANNELS, specs)
    shares = shared_out(groups, rows, count)
    assert sorted(channel for share in shares for channel in share) == CHANNELS
    assert 1 <= len(shares) <= count
    for one in specs:
        assert sum(not share.isdisjoint(one.channels) for share in shares) == 1


def test_shares_are_about_the_same() -> None:
    groups = independent(CHANNELS, [spec("r", ["b", "c"])])
    rows = {"a": 500, "b": 200, "c": 100, "d": 150, "e": 50}
    shares = shared_out(groups, rows, 2)
    assert {"a"} in [share - {"f"} for share in shares]
    assert sorted(sum(rows.get(c, 0) for c in share) for share in shares) == [500, 500]


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    show_to_commands(world, monkeypatch, tmp_path)
    now = time.time()
    insert(world.corec_dsn, history(10_000, now - 6 * HOUR, now - 10))
    return world


def test_many_processes_count_as_one(written: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    one = backtest("--since", "beginning")
    monkeypatch.setattr(replays, "LARGE", 1000)
    three = backtest("--since", "beginning")
    for result in (one, three):
        del result["seconds"], result["until"]
    assert len(one["rules"]) > 8
    assert one["dead_letters"] > 2  # commands that are refused are in every share
    assert three == one


def test_a_rule_on_commands_is_judged_once(
    written: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written.config["channels"].append("alert_data")
    words = {"title": "t", "message": "m"}
    rule = {"name": "informe", "channel": "alert_data", "severity": "baja", **words}
    written.config["alert_config"]["rules"].append(rule)
    other = tmp_path / "otro.yaml"
    other.write_text(yaml.safe_dump(written.config), encoding="utf-8")
    for number in range(3):
        written.write("alert_data", b'{"alerta": %d}' % number)
    monkeypatch.setattr(replays, "LARGE", 1000)
    found = backtest("--since", "beginning", "--config", str(other))
    assert [r["replayed"] for r in found["rules"] if r["rule"] == "informe"] == [3]


def test_a_database_that_goes_away_is_said(written: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_and_close(*_: object) -> dict[str, int]:
        ((name,),) = written.corec("SELECT current_database()")
        written.corec(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        return {"market_data": 500_000, "macro_data": 500_000}

    monkeypatch.setattr(replays, "count_rows", count_and_close)
    result = run("--since", "beginning")
    assert result.exit_code == 3
    assert "corec_db no responde" in result.output


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_command(written: World, number: int) -> None:
    insert(written.corec_dsn, history(150_000, time.time() - 30 * HOUR, time.time() - 6 * HOUR))
    command = [sys.executable, "-m", "src.plugins.alert_manager.cli", "backtest"]
    with subprocess.Popen(
        [*command, "--since", "beginning"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        children: list[psutil.Process] = []
        while len(children) < 2:
            assert time.monotonic() < deadline
            children = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []
        assert "Traceback" not in errors
