"""The benchmarks run as their documents say; how fast they find us is the machine's affair."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.long


def figures(folder: Path, name: str, *arguments: str) -> Any:
    """Runs a benchmark in its shortest form; returns what it wrote."""
    path = folder / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", str(path)]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return json.loads(path.read_text(encoding="utf-8"))


def test_events_a_second(tmp_path: Path) -> None:
    found = figures(
        tmp_path, "events", "--events", "500", "--rounds", "1", "--loads", "10 %", "duplicates"
    )
    assert found.keys() == {"10 %", "duplicates"}
    for (one,) in found.values():
        assert 0 < one["alerts"] < one["events"]
        assert one["told"] < one["events"]
        assert one["share_a"] == one["events"] / one["limit_a"]


def test_latency(tmp_path: Path) -> None:
    (one,) = figures(tmp_path, "latency", "--seconds", "1.5", "--rounds", "1")
    assert 0 < one["alert_p50"] <= one["alert_p99"]
    assert 0 < one["discord_p50"] <= one["discord_p99"]
    assert one["slowed"] < 1


def test_beside_others(tmp_path: Path) -> None:
    """Of the others there may be none; of Alerta there is none in an empty folder."""
    found = figures(
        tmp_path, "others", "--alerts", "300", "--rounds", "1", "--alerta", str(tmp_path / "no")
    )
    installed = {"Alertmanager"} if shutil.which("prometheus-alertmanager") else set()
    assert set(found["missing"]) == {"Alertmanager", "Alerta"} - installed
    (one,) = found["rounds"]
    assert one.keys() == {"alert_manager"} | installed
    assert min(one.values()) > 0  # it fails unless every alert is there
    assert found["median"] == one


def test_large_tables(tmp_path: Path) -> None:
    found = figures(tmp_path, "large", "--events", "5000", "--alerts", "2000", "--rounds", "2")
    assert found.keys() >= {"idle poll", "list --severity critica", "show 1000", "stats"}
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in found.values())
    for median, cut in zip(found["idle poll"], found["idle poll, 99 %"], strict=True):
        assert median <= cut


def test_an_idle_host(tmp_path: Path) -> None:
    found = figures(tmp_path, "idle", "--seconds", "5", "--events", "2000")
    assert 0 < found["idle"]["host_cpu"] < 1
    assert 0 < found["idle"]["rss"] < found["backlog"]["peak"]
    assert found["idle"]["rss"] < found["steady"]["last"]
    assert found["steady"]["written"] > 50


def test_several_instances(tmp_path: Path) -> None:
    found = figures(
        tmp_path, "instances", "--events", "400", "--rounds", "1", "--processes", "1", "2"
    )
    assert found.keys() == {"1 together", "2 together", "2 apart"}
    for (one,) in found.values():
        assert one["events"] > 0
        assert one["told"] > 0


def test_what_rules_cost(tmp_path: Path) -> None:
    found = figures(tmp_path, "rules", "--events", "2000", "--rounds", "1")
    assert found.keys() == {"0", "10", "100", "1000"}
    (hundred,), (thousand,) = found["100"], found["1000"]
    # Ten times as much. It was ninety times, when patterns were read anew beyond a few hundred.
    assert hundred < thousand < 30 * hundred
