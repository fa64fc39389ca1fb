"""psql.sh, alerts.sh and stop.sh where Docker runs, and a start with it or without it, not both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.deploy.checkout import Checkout


def test_psql_goes_into_the_containers(started: Checkout) -> None:
    started.environ["RUNNING"] = "postgres alert_db"
    started.run("psql.sh", "corec_db", "-Xc", "SELECT 1")
    assert started.asked("exec") == [
        "exec -i -e PGUSER=corec_user -e PGDATABASE=corec_db corec_v4-postgres-1 psql -Xc SELECT 1"
    ]
    started.run("psql.sh", "alert_db", stdin="SELECT 2;")
    assert started.asked("exec") == [
        "exec -i -e PGUSER=alert_user -e PGDATABASE=alert_db corec_v4-alert_db-1 psql"
    ]
    assert Path(f"{started.told}.stdin").read_text().endswith("SELECT 2;")


@pytest.mark.parametrize("option", [("-f", "x.sql"), ("--file=x.sql",), ("-fx.sql",)])
def test_a_file_of_this_machine_reaches_psql_by_the_pipe(
    started: Checkout, option: tuple[str, ...]
) -> None:
    started.environ["RUNNING"] = "postgres alert_db"
    (started.root / "x.sql").write_text("SELECT 3;")
    done = started.run("psql.sh", "corec_db", "-q", *option)
    assert done.returncode == 0, done.stderr
    assert started.asked("psql -q -f -") != []
    assert Path(f"{started.told}.stdin").read_text().endswith("SELECT 3;")


def test_psql_says_when_its_container_does_not_run(started: Checkout) -> None:
    started.environ["RUNNING"] = "alert_db"
    done = started.run("psql.sh", "corec_db", "-c", "SELECT 1")
    assert done.returncode == 1
    assert "postgres no está en marcha en docker" in done.stderr
    assert started.asked("exec") == []


@pytest.mark.parametrize(
    ("running", "environ", "wanted"),
    [
        ("alert_db corec2 corec1", {}, "exec -i corec_v4-corec1-1"),
        ("alert_db corec2", {}, "exec -i corec_v4-corec2-1"),
        ("alert_db corec2 corec1", {"INSTANCE_ID": "corec2"}, "exec -i corec_v4-corec2-1"),
        ("alert_db", {}, "compose --project-name corec_v4 run --rm --no-deps -T corec1"),
    ],
)
def test_the_command_line_asks_an_instance_that_runs(
    started: Checkout, running: str, environ: dict[str, str], wanted: str
) -> None:
    done = started.run("alerts.sh", "list", "--json", RUNNING=running, **environ)
    assert done.returncode == 0, done.stderr
    [line] = started.asked("cli list --json")
    assert line.startswith(wanted)


@pytest.mark.parametrize("command", ["backtest", "suggest-thresholds"])
def test_what_takes_memory_has_a_container_of_its_own(started: Checkout, command: str) -> None:
    started.run("alerts.sh", command, "--json", RUNNING="alert_db corec1")
    [line] = started.asked(f"cli {command} --json")
    assert line.startswith("compose --project-name corec_v4 run --rm --no-deps -T corec1")


def test_the_command_line_says_when_nothing_runs(started: Checkout) -> None:
    done = started.run("alerts.sh", "list")
    assert done.returncode == 1
    assert "alert_db no está en marcha en docker" in done.stderr


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (("check-config", "n.yaml"), "check-config /dev/stdin"),
        (("backtest", "--config", "n.yaml"), "backtest --config /dev/stdin"),
        (("backtest", "--config=n.yaml", "--json"), "backtest --config /dev/stdin --json"),
    ],
)
def test_a_configuration_of_this_machine_reaches_the_command_line(
    started: Checkout, given: tuple[str, ...], asked: str
) -> None:
    (started.root / "n.yaml").write_text("channels: []")
    started.run("alerts.sh", *given, RUNNING="alert_db corec1")
    assert [
        line.split(" -m src.plugins.alert_manager.cli ")[1] for line in started.asked("cli")
    ] == [asked]
    assert Path(f"{started.told}.stdin").read_text().endswith("channels: []")
    absent = started.run("alerts.sh", "check-config", "absent.yaml", RUNNING="alert_db corec1")
    assert (absent.returncode, "No se puede leer absent.yaml" in absent.stderr) == (1, True)


def test_stop_ends_the_project_also_without_its_files(started: Checkout) -> None:
    (started.folder / ".env").unlink()
    (started.folder / "docker-compose.yml").unlink()
    done = started.run("stop.sh")
    assert done.returncode == 0, done.stderr
    assert started.asked(" down") == ["compose --project-name corec_v4 down"]
    assert not (started.home / "docker").exists()
    assert "No hay nada en marcha." in started.run("stop.sh").stdout


def test_stop_ends_one_instance_and_leaves_the_rest(started: Checkout) -> None:
    done = started.run("stop.sh", "--instance", "corec2")
    assert done.returncode == 0, done.stderr
    assert started.asked("stop") == ["stop corec_v4-corec2-1"]
    assert started.asked(" down") == []
    assert (started.home / "docker").exists()


def test_containers_that_did_not_get_healthy_are_stopped_by_the_next_stop(
    checkout: Checkout,
) -> None:
    assert checkout.run("start.sh", "--docker", FAILING="*up -d*").returncode == 1
    assert checkout.run("stop.sh").returncode == 0
    assert checkout.asked(" down") != []


def test_a_start_without_docker_is_refused_while_docker_runs(started: Checkout) -> None:
    done = started.run("start.sh", RUNNING="corec1")
    assert done.returncode == 1
    assert "ya está en marcha, con docker" in done.stderr
    unknown = started.run("start.sh", FAILING="ps*")
    assert "docker no responde" in unknown.stderr
    assert (started.home / "docker").exists()
    # Its containers are gone: the home is free again, and only the Python is missing here.
    free = started.run("start.sh")
    assert "nonexistent no se puede ejecutar" in free.stderr
    assert not (started.home / "docker").exists()


def test_docker_is_refused_while_corec_runs_without_it(checkout: Checkout) -> None:
    instance = checkout.home / "run" / "instances" / "corec1.json"
    instance.parent.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as living:
        instance.write_text(json.dumps({"pid": living.pid, "created": 1.0}))
        refused = checkout.run("start.sh", "--docker")
        living.kill()
    assert refused.returncode == 1
    assert "ya está en marcha aquí, sin docker" in refused.stderr
    assert checkout.run("start.sh", "--docker").returncode == 0
