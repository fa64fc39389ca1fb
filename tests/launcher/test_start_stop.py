from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from src.launcher.processes import wait_until
from tests.launcher.project import Project, copy_project

pytestmark = pytest.mark.e2e


def test_start_twice_use_stop_twice_and_start_again(project: Project) -> None:
    first = project.run("start.sh")
    assert "en marcha y sano" in first
    assert "./scripts/simulate.sh" in first

    again = project.run("start.sh")
    assert "ya está en marcha" in again
    assert "http://127.0.0.1:" in again

    assert project.sql("corec_db", "SELECT current_user") == "corec_user"
    assert project.sql("alert_db", "SELECT current_user") == "alert_user"
    project.sql("corec_db", "INSERT INTO auditoria (evento_id) VALUES ('kept')")

    assert "Todo detenido." in project.run("stop.sh")
    assert project.living() == []
    assert "No hay nada en marcha." in project.run("stop.sh")
    refused = project.script("psql.sh", "corec_db", "-c", "SELECT 1")
    assert refused.returncode == 1
    assert "./scripts/start.sh" in refused.stderr

    project.run("start.sh")
    assert project.sql("corec_db", "SELECT evento_id FROM auditoria") == "kept"


def test_simulate_ends_in_five_alerts(project: Project) -> None:
    project.run("start.sh")
    assert "alerts.sh list" in project.run("simulate.sh")
    severities = "SELECT string_agg(severity, ' ' ORDER BY id) FROM alerts"
    wanted = "critica alta alta alta alta"
    assert wait_until(lambda: project.sql("alert_db", severities) == wanted, 10)
    assert project.script("alerts.sh", "list").returncode == 0


def test_the_command_line_asks_about_the_instance_and_the_configuration_that_run(
    project: Project,
) -> None:
    shipped = project.folder / "configs/plugins/alert_manager/alert_manager.yaml"
    other = project.home.parent / "otro.yaml"
    text = shipped.read_text(encoding="utf-8")
    other.write_text(text.replace("    vix: 20 ", "    vix: 21 "), encoding="utf-8")
    started = {"INSTANCE_ID": "corec2", "ALERT_MANAGER_CONFIG": str(other)}
    project.run("start.sh", environ=started)
    stream = ("explain", "--canal", "corec_stream_corec2", "--payload", '{"mse": 9}')
    assert "prediccion_imprecisa: sí" in project.run("alerts.sh", *stream)
    index = ("explain", "--canal", "macro_data", "--payload", '{"vix_price": 20.5}')
    assert "Ninguna alerta." in project.run("alerts.sh", *index)


def test_only_the_starting_user_gets_into_the_servers(project: Project) -> None:
    project.run("start.sh")
    for path in ("run/pg/.s.PGSQL.5432", "run/redis.sock", "run/environment"):
        assert (project.home / path).lstat().st_mode & 0o077 == 0, path
    for path in ("data/postgres", "run/pg", "logs"):
        assert (project.home / path).stat().st_mode & 0o077 == 0, path
    hba = (project.home / "data/postgres/pg_hba.conf").read_text()
    assert hba == "local all all peer map=corec\n"
    assert project.sql("corec_db", "SHOW listen_addresses") == ""


def test_a_taken_port_is_named_with_its_holder(project: Project) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        result = project.script("start.sh", environ={"COREC_HTTP_PORT": port})
    assert result.returncode == 1
    assert port in result.stderr
    assert f"pid {os.getpid()}" in result.stderr
    assert "COREC_HTTP_PORT=0" in result.stderr
    assert project.living() == []


def test_a_port_that_is_no_port_is_refused(project: Project) -> None:
    result = project.script("start.sh", environ={"COREC_HTTP_PORT": "ochenta"})
    assert result.returncode == 1
    assert "'ochenta'" in result.stderr
    assert "0 a 65535" in result.stderr


def test_two_instances_share_the_servers(project: Project) -> None:
    project.run("start.sh")
    project.run("start.sh", environ={"INSTANCE_ID": "corec2"})
    nodes = "SELECT count(DISTINCT instance_id) FROM nodos"
    assert wait_until(lambda: project.sql("corec_db", nodes) == "2", 20)

    first = (project.home / "run/instances/corec1.port").read_text()
    assert "CoreC (corec2): detenido." in project.run("stop.sh", "--instance", "corec2")
    assert (project.home / "http.port").read_text() == first  # people and scripts look there
    assert "no está en marcha" in project.run("stop.sh", "--instance", "corec2")
    assert "ya está en marcha y sano" in project.run("start.sh")


def test_two_homes_run_beside_each_other(project: Project, short_root: Path) -> None:
    other = Project(short_root / "otro")
    project.run("start.sh")
    try:
        other.run("start.sh")
        other.sql("corec_db", "INSERT INTO auditoria (evento_id) VALUES ('other')")
        assert project.sql("corec_db", "SELECT count(*) FROM auditoria") == "0"
    finally:
        other.run("stop.sh")
    assert other.living() == []
    assert "ya está en marcha y sano" in project.run("start.sh")


def test_two_starts_at_once_make_one_corec(project: Project) -> None:
    starts = [project.popen("start.sh") for _ in range(2)]
    told = sorted(start.communicate(timeout=90)[0] for start in starts)
    assert [start.returncode for start in starts] == [0, 0], told
    assert sum("ya está en marcha" in text for text in told) == 1, told
    assert sum("main.py" in line for line in project.living()) == 1


def test_a_path_with_blanks_and_a_symlink(short_root: Path) -> None:
    folder = copy_project(short_root / "mi proyecto $x", venv=True)
    project = Project(folder / ".corec", folder)
    link = short_root / "arranca"
    link.symlink_to(folder / "scripts" / "start.sh")
    del project.environ["COREC_HOME"]
    try:
        result = subprocess.run(
            [link], cwd="/", env=project.environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert project.sql("corec_db", "SELECT 'a b  c'") == "a b  c"
    finally:
        project.run("stop.sh")
    assert project.living() == []


def test_a_home_too_long_for_a_socket(short_root: Path) -> None:
    project = Project(short_root / ("largo-" * 20))
    try:
        project.run("start.sh")
        assert project.sql("corec_db", "SELECT 1") == "1"
        # psql's own options keep their meaning: here the superuser, as the same OS user.
        told = project.run(
            *("psql.sh", "corec_db", "-U", "postgres", "-XAtc", "SHOW unix_socket_directories")
        )
        shown = told.strip().strip('"')
    finally:
        project.run("stop.sh")
    assert re.fullmatch(rf"/tmp/corec-{os.geteuid()}-[0-9a-f]+/pg", shown)
    assert not Path(shown).parent.exists()
    assert project.living() == []


def test_psql_names_the_databases_it_knows(project: Project) -> None:
    result = project.script("psql.sh", "trading_db")
    assert result.returncode == 1
    assert "corec_db|alert_db" in result.stderr
    assert "trading_db" in result.stderr
