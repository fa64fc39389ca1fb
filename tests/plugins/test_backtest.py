"""`alerts.sh backtest`: the same as a running plugin, on the same rows; nothing stored or sent."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from src.plugins.alert_manager.cli.data import load_settings
from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.cli.times import read_moment
from src.plugins.alert_manager.utils.history import find_span, pages
from tests.plugins.conftest import SCHEMA, World, eventually, show_to_commands
from tests.plugins.histories import history, insert

HOUR = 3600.0


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A world with eight hours of events, the configuration in a file, and its databases named."""
    world.config["config"]["reader"] = {"start_from": "beginning"}
    show_to_commands(world, monkeypatch, tmp_path)
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


async def test_another_configuration_shows_which_events_change(
    written: World, tmp_path: Path
) -> None:
    await ran(written)
    stored = (
        written.alert("SELECT count(*) FROM alerts"),
        written.corec("SELECT max(id) FROM eventos"),
    )
    changed = yaml.safe_load(yaml.safe_dump(written.config))
    changed["alert_config"]["thresholds"] |= {"withdrawal": 900, "mse": 0.001}
    other = tmp_path / "otro.yaml"
    other.write_text(yaml.safe_dump(changed), encoding="utf-8")
    found = backtest("--since", "beginning", "--config", str(other))
    counts = {(r["rule"], r["severity"]): (r["happened"], r["replayed"]) for r in found["rules"]}
    before, after = counts["retiro", "alta"]
    assert before > after
    assert counts["prediccion_imprecisa", "media"][1] > counts["prediccion_imprecisa", "media"][0]
    assert {v["rule"] for v in found["changed"]} == {"retiro", "prediccion_imprecisa"}
    gone = [v for v in found["changed"] if v["replayed"] is None]
    assert len(gone) == before - after
    for verdict in gone:
        ((row,),) = written.alert(
            "SELECT event_data FROM alerts WHERE event_id = %s AND rule = %s",
            (verdict["event_id"], verdict["rule"]),
        )
        assert 500 <= row["amount"] < 900
    assert stored == (
        written.alert("SELECT count(*) FROM alerts"),
        written.corec("SELECT max(id) FROM eventos"),
    )


async def test_what_lasted_before_the_time_asked_about_is_no_news(written: World) -> None:
    written.corec("DELETE FROM eventos WHERE canal = 'macro_data'")
    now = time.time()
    for hours in (5.0, 4.0, 2.0, 1.0):
        written.write("macro_data", b'{"vix_price": 35}', now - hours * HOUR)
    await ran(written)
    found = backtest("--since", "3h")
    assert found["changed"] == []
    assert [r for r in found["rules"] if r["rule"] == "vix"] == []
    assert all(r["happened"] == r["replayed"] > 0 for r in found["rules"])


async def test_alerts_of_rules_on_commands_and_reports_are_compared_too(
    written: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written.corec("DELETE FROM eventos")
    words = {"title": "t", "message": "m"}
    rule = {"name": "orden", "channel": "alert_data", "when": {"tipo": "x"}, "severity": "baja"}
    written.config["channels"].append("alert_data")
    written.config["alert_config"]["rules"].append({**rule, **words})
    show_to_commands(written, monkeypatch, tmp_path)
    written.write("alert_data", b'{"tipo": "x"}', time.time() - HOUR)
    await ran(written)
    found = backtest("--since", "3h")
    assert [(r["rule"], r["happened"], r["replayed"]) for r in found["rules"]] == [("orden", 1, 1)]


async def test_what_repeated_an_older_alert_still_does(written: World) -> None:
    written.corec("DELETE FROM eventos")
    now = time.time()
    for number in range(45):  # one alert for two of them, ever since the first
        error = b'{"tipo": "event_error", "plugin": "x", "message": "m"}'
        written.write("alertas", error, now - 30 * HOUR + number * 2400)
    await ran(written)
    found = backtest("--since", "3h")
    assert found["changed"] == []
    assert [(r["happened"], r["replayed"]) for r in found["rules"]] == [(2, 2)]


def test_a_time_that_cannot_be_believed_is_that_of_the_rows_before(written: World) -> None:
    written.corec("DELETE FROM eventos")
    now = time.time()
    times = (0.0, now - 500.0, None, now + 1e6, float("nan"), now - 400.0)
    for moment in times:
        written.corec(
            "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
            " VALUES ('alertas', '{}', %s, 'corec1')",
            (moment,),
        )
    with contextlib.closing(psycopg2.connect(written.corec_dsn)) as connection:
        (page,) = pages(connection, find_span(connection, None), load_settings().settings)
    assert [raw.timestamp for raw in page] == [0.0, *[now - 500.0] * 4, now - 400.0]


async def test_thresholds_begin_as_commands_had_set_them(written: World) -> None:
    written.corec("DELETE FROM eventos")
    command = b'{"action": "update_threshold", "withdrawal_threshold": 2000, "plugin": "cli"}'
    now = time.time()
    written.write("alert_data", command, now - 72 * HOUR)
    written.write("capital_data", b'{"action": "withdraw", "amount": 1500}', now - 2 * HOUR)
    written.write("capital_data", b'{"action": "withdraw", "amount": 2500}', now - HOUR)
    await ran(written)
    found = backtest("--since", "3h")
    assert [(r["rule"], r["happened"], r["replayed"]) for r in found["rules"]] == [("retiro", 1, 1)]


@pytest.mark.long
async def test_people_read_a_table_and_see_a_picture(written: World, tmp_path: Path) -> None:
    await ran(written)
    written.alert("UPDATE alerts SET severity = 'critica' WHERE rule = 'retiro'")
    written.alert("DELETE FROM alerts WHERE rule = 'perdida'")
    picture = tmp_path / "alertas.png"
    result = run("--since", "9h", "--plot", str(picture), "--limit", "5")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    ((happened, replayed),) = [
        line.split()[2:4] for line in lines if line.startswith("retiro alta")
    ]
    assert (happened, int(replayed) > 0) == ("0", True)
    assert any(line.startswith("total ") for line in lines)
    assert sum(" Pérdida de $" in line or " Retiro de $" in line for line in lines) == 5
    assert any("más: --limit o --json" in line for line in lines)
    with Image.open(picture) as image:
        image.load()
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or ()}
        assert image.width > 800
    assert (0xE8, 0x59, 0x0C) in colours  # bars of severity alta


async def test_a_table_without_events_says_so(written: World) -> None:
    written.corec("DELETE FROM eventos")
    written.alert(SCHEMA.read_text(encoding="utf-8"))
    assert "no hubo alertas, ni las habría" in run("--since", "1d").stdout
    written.write("alertas", b"no es JSON")
    assert "1 eventos no se entienden." in run("--since", "1d").stdout


def test_before_the_first_start_it_says_what_is_missing(written: World) -> None:
    result = run()
    assert result.exit_code == 1
    assert "./scripts/start.sh" in result.output


def test_a_time_without_a_zone_is_the_familys(written: World) -> None:
    formats = load_settings().settings.alert_config.formats()
    assert read_moment("2026-11-23T16:50", 0.0, formats) == 1_795_474_200.0  # 22:50 UTC
    assert read_moment("2026-11-23T16:50+00:00", 0.0, formats) == 1_795_452_600.0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--since", "ayer"), 2, "una duración como 1h"),
        (("--config", "/no/existe.yaml"), 1, "/no/existe.yaml"),
        (("--plot", "/tmp"), 1, "se espera un archivo .png"),
        (("--plot", "/no/existe/x.png"), 1, "No se puede escribir en /no/existe"),
    ],
)
def test_what_cannot_be_done_is_said(options: tuple[str, ...], code: int, said: str) -> None:
    result = run(*options)
    assert result.exit_code == code
    assert said in result.output


def test_a_database_that_is_away_is_named(written: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COREC_DB_DSN", "postgresql://u:clave-secreta@127.0.0.1:1/corec")
    result = run()
    assert result.exit_code == 3
    assert "corec_db no responde" in result.output
    assert "clave-secreta" not in result.output
    monkeypatch.delenv("COREC_DB_DSN")
    assert run().exit_code == 3
