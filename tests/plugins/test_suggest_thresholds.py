"""`alerts.sh suggest-thresholds`: real values, and the alerts that each limit would have made."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.measured import Series, alerts_at, limits
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.rule_spec import Limit, Measure
from tests.plugins.conftest import SCHEMA, World, show_to_commands
from tests.plugins.histories import history, insert

DAY = 86400.0


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    show_to_commands(world, monkeypatch, tmp_path)
    return world


def said(*arguments: str) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_limit_in_use_makes_the_alerts_that_a_replay_tells(written: World) -> None:
    now = time.time()
    insert(written.corec_dsn, history(12_000, now - DAY / 4, now, seed=3))
    replayed: dict[str, int] = {}
    for row in said("backtest", "--since", "beginning")["rules"]:
        replayed[row["rule"]] = replayed.get(row["rule"], 0) + row["replayed"]
    found = said("suggest-thresholds", "--since", "beginning")
    seen = set()
    for suggestion in found:
        levels = [one for one in found if one["rule"] == suggestion["rule"]]
        # Of two levels, what grows worse is two alerts; commands set the threshold of `perdida`.
        if len(levels) > 1 or suggestion["rule"] == "perdida":
            continue
        # Less than a day counts as one.
        rate = suggestion["limits"][0]["alerts_per_day"]
        assert rate == pytest.approx(replayed.get(suggestion["rule"], 0), rel=0.01)
        seen.add(suggestion["rule"])
    assert {"ganancia", "racha_de_perdidas", "aportacion", "dxy", "prediccion_imprecisa"} <= seen


@pytest.mark.long
def test_limits_come_in_the_sign_of_their_threshold(written: World) -> None:
    now = time.time()
    for number in range(1, 1001):
        loss = json.dumps({"profit": -number, "order_id": number}).encode()
        written.write("trading_results", loss, now - DAY + number)
    written.write("trading_results", b'{"profit": "mucho"}', now)
    written.write("trading_results", b"no JSON", now)
    written.write("alertas", b"{}", 1_000_000_000.0)  # a broken clock, of 2001
    (loss,) = [
        s for s in said("suggest-thresholds", "--since", "24.5h") if s["threshold"] == "loss"
    ]
    assert (loss["rule"], loss["severity"], loss["values"]) == ("perdida", "alta", 1000)
    assert [(one["share"], one["limit"]) for one in loss["limits"]] == [
        (None, 100.0),
        (0.1, 901.0),
        (0.01, 991.0),
        (0.001, 1000.0),
    ]
    rates = [one["alerts_per_day"] for one in loss["limits"]]
    assert rates == pytest.approx([901, 100, 10, 1], rel=0.03)


def test_the_limit_in_use_is_the_one_that_a_command_set(written: World) -> None:
    written.alert(
        "INSERT INTO threshold_changes"
        " (name, old_value, new_value, base_value, timestamp, changed_by)"
        " VALUES ('loss', 100, 150, 100, 1, 'ana')"
    )
    (loss,) = [s for s in said("suggest-thresholds") if s["threshold"] == "loss"]
    assert loss["limits"][0]["limit"] == 150.0


def test_people_read_a_table(written: World) -> None:
    run = CliRunner().invoke
    assert "ninguna regla comparó un valor" in run(main, ["suggest-thresholds"]).stdout
    now = time.time()
    for number in range(100):
        written.write("macro_data", b'{"vix_price": %d}' % number, now - DAY + 600 * number)
    output = run(main, ["suggest-thresholds"]).stdout
    (vix,) = [line.split() for line in output.splitlines() if line.startswith("vix ")]
    assert vix[:5] == ["vix", "vix", "alta", "100", "20"]
    assert "(1/día)" in vix
    assert vix[-1] == "-"  # 100 numbers do not say what one in 1000 reaches


VALUES = st.lists(st.tuples(st.integers(0, 500), st.integers(-50, 50)), min_size=1, max_size=50)


@given(VALUES, st.sampled_from([">", ">=", "<", "<="]), st.integers(-50, 50), st.integers(0, 20))
def test_a_stricter_limit_never_speaks_more_often(
    values: list[tuple[int, int]], comparison: str, limit: int, more: int
) -> None:
    """Where each event is an alert of its own; of a state that lasts, it may."""
    series, moment = Series(), 0.0
    for number, (seconds, value) in enumerate(values):
        moment += seconds
        series.add(moment, float(value), str(number).encode())
    measure = Measure(("v",), comparison, ((Severity.ALTA, Limit(0.0)),))
    stricter = limit + more if comparison in (">", ">=") else limit - more
    loose = alerts_at(series, measure, limit, None, 3600.0)
    assert alerts_at(series, measure, stricter, None, 3600.0) <= loose <= len(values)
    for share, found in limits(series, measure):
        reached = Measure(("v",), comparison.rstrip("=") + "=", measure.levels)
        assert alerts_at(series, reached, found, None, 3600.0) >= share * (len(values) - 1)
        assert len(values) * share >= 1


def test_repeats_and_states_count_as_they_are_told() -> None:
    measure = Measure(("v",), ">=", ((Severity.ALTA, Limit(20.0)),))
    series = Series()
    for number, value in enumerate([21.0, 22.0, 19.0, 25.0, 17.0, 21.0]):
        series.add(number * 1000.0, value, b"vix")
    assert alerts_at(series, measure, 20.0, None, 3600.0) == 2  # at 0 and 5000 s
    assert alerts_at(series, measure, 20.0, None, 10.0) == 4
    assert alerts_at(series, measure, 20.0, 18.0, 10.0) == 2  # 19 does not end it, 17 does
    assert alerts_at(series, measure, 16.0, 18.0, 10.0) == 1  # the limit lies below `clear`
