"""`alerts.sh backtest`: the same as a running plugin, on the same rows; nothing stored or sent."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli import main
from tests.plugins.conftest import World, eventually
from tests.plugins.histories import history, insert

HOUR = 3600.0


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A world with eight hours of events, the configuration in a file, and its databases named."""
    world.config["config"]["reader"] = {"start_from": "beginning"}
    file = tmp_path / "alert_manager.yaml"
    file.write_text(yaml.safe_dump(world.config), encoding="utf-8")
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(file))
    monkeypatch.setenv("COREC_DB_DSN", world.corec_dsn)
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    now = time.time()
    insert(world.corec_dsn, history(12_000, now - 8 * HOUR, now - 10))
    return world


async def ran(world: World) -> None:
    """Lets the plugin judge everything."""
    last = world.corec("SELECT max(id) FROM eventos")[0][0]
    position = "SELECT (position->'hi')::bigint FROM reader_positions WHERE source = 'eventos'"
    async with world.running():
        # Its own reports are rows, too.
        await eventually(lambda: (found := world.alert(position)) and found[0][0] >= last, 60.0)


def backtest(*options: str) -> Any:
    result = run(*options, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def run(*options: str) -> Result:
    return CliRunner().invoke(main, ["backtest", *options])


async def test_its_counts_are_those_of_a_run(written: World) -> None:
    await ran(written)
    found = backtest("--since", "beginning")
    counts = written.alert(
        "SELECT rule, severity, count(*) FROM alerts WHERE channel <> 'alert_data' GROUP BY 1, 2"
    )
    assert len(counts) > 12
    assert sum(row[2] for row in counts) > 150
    assert {(r["rule"], r["severity"]): r["replayed"] for r in found["rules"]} == {
        (rule, severity): count for rule, severity, count in counts
    }
    assert all(r["happened"] == r["replayed"] for r in found["rules"])
    assert found["changed"] == []
    assert found["events"] >= 12_000  # and its reports
    letters = written.alert("SELECT count(*) FROM dead_letters")[0][0]
    assert found["dead_letters"] == letters > 0
