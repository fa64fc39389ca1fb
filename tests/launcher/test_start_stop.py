from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import psycopg2
import pytest

from src.launcher.processes import wait_until
from tests.launcher.project import Project, copy_project
from tests.support.servers import TestPostgres, TestRedis

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


def test_everything_killed_and_started_again(project: Project) -> None:
    project.run("start.sh")
    project.sql("corec_db", "INSERT INTO auditoria (evento_id) VALUES ('kept')")
    for process in psutil.process_iter():
        if project.owns(process):
            process.kill()
    assert wait_until(lambda: project.living() == [], 10)

    assert "limpio su pid antiguo" in project.run("start.sh")
    assert project.sql("corec_db", "SELECT evento_id FROM auditoria") == "kept"


def test_pids_that_strangers_have_by_now_are_not_believed(project: Project) -> None:
    """After a reboot the remembered pids may belong to anybody, here to this test."""
    project.run("start.sh")
    project.run("stop.sh")
    stranger = json.dumps({"pid": os.getpid(), "started": "another boot/1"})
    (project.home / "run/instances/corec1.json").write_text(stranger)
    (project.home / "run/redis.json").write_text(stranger)
    lock = f"{os.getpid()}\n{project.home}/data/postgres\n1\n5432\n/nowhere\n\n0 0\nready\n"
    (project.home / "data/postgres/postmaster.pid").write_text(lock)

    assert "No hay nada en marcha." in project.run("stop.sh")
    assert "en marcha y sano" in project.run("start.sh")
    assert "Todo detenido." in project.run("stop.sh")


def test_servers_whose_pid_file_was_lost_are_taken_over(project: Project) -> None:
    project.run("start.sh")
    project.run("stop.sh", "--instance", "corec1")
    (project.home / "run/redis.json").unlink()
    before = project.living()
    assert len(before) >= 2

    project.run("start.sh")
    redis = json.loads((project.home / "run/redis.json").read_text())
    assert str(project.home / "run/redis.sock") in psutil.Process(redis["pid"]).cmdline()


def test_two_instances_share_the_servers(project: Project) -> None:
    project.run("start.sh")
    project.run("start.sh", environ={"INSTANCE_ID": "corec2"})
    nodes = "SELECT count(DISTINCT instance_id) FROM nodos"
    assert wait_until(lambda: project.sql("corec_db", nodes) == "2", 20)

    assert "CoreC (corec2): detenido." in project.run("stop.sh", "--instance", "corec2")
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


def test_foreground_ends_with_everything_on_ctrl_c(project: Project) -> None:
    start = project.popen("start.sh", "--foreground")
    assert start.stdout is not None
    lines: list[str] = []
    for line in start.stdout:
        lines.append(line)
        if "Ctrl-C lo detiene" in line:
            break
    os.killpg(start.pid, signal.SIGINT)
    rest, _ = start.communicate(timeout=30)
    assert start.returncode == 0, "".join(lines) + rest
    assert "PostgreSQL: detenido." in rest
    assert project.living() == []


def test_an_interrupted_start_leaves_nothing_running(project: Project) -> None:
    start = project.popen("start.sh")
    assert start.stdout is not None
    assert any("PostgreSQL: en marcha." in line for line in start.stdout)
    os.killpg(start.pid, signal.SIGTERM)
    start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGTERM
    assert project.living() == []


def test_a_start_killed_while_it_makes_the_databases(project: Project) -> None:
    start = project.popen("start.sh")
    half_made = project.home / "data" / "postgres.new" / "PG_VERSION"
    assert wait_until(half_made.exists, 30)
    os.killpg(start.pid, signal.SIGKILL)
    start.communicate(timeout=30)
    assert not (project.home / "data" / "postgres" / "PG_VERSION").exists()

    assert "en marcha y sano" in project.run("start.sh")


def test_a_host_that_ends_at_once_is_shown_and_undone(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text("raise SystemExit('no quiero arrancar')\n")
    project = Project(short_root / "h", folder)
    result = project.script("start.sh")
    assert result.returncode == 1
    assert "terminó al arrancar (código 1)" in result.stderr
    assert "no quiero arrancar" in result.stderr
    assert project.living() == []


_SICK = """
import http.server, os, pathlib
class Sick(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"alert_db": "sin conexi\\\\u00f3n"}'
        self.send_response(503)
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Sick)
pathlib.Path(os.environ["COREC_HOME"], "http.port").write_text(str(server.server_port))
server.serve_forever()
"""


def test_a_sick_host_is_shown_and_undone(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text(_SICK)
    host = folder / "src" / "launcher" / "host.py"
    impatient = host.read_text().replace("HEALTHY_SECONDS = 60.0", "HEALTHY_SECONDS = 1.0")
    host.write_text(impatient)
    project = Project(short_root / "h", folder)
    result = project.script("start.sh")
    assert result.returncode == 1
    assert "503" in result.stderr
    assert '"alert_db": "sin conexión"' in result.stderr
    assert project.living() == []


def test_servers_of_the_user_take_the_place_of_the_embedded_ones(
    project: Project, postgres_server: TestPostgres, redis_server: TestRedis
) -> None:
    own = {
        "COREC_DB_DSN": postgres_server.create_database("own_corec", owner="corec_user"),
        "ALERT_DB_DSN": postgres_server.create_database("own_alert", owner="alert_user"),
        "REDIS_URL": redis_server.url,
    }
    told = project.run("start.sh", environ=own)
    assert "PostgreSQL: en marcha." not in told
    assert not (project.home / "data" / "postgres").exists()
    assert not (project.home / "data" / "redis").exists()
    # psql.sh finds them without the environment, and the environment wins over what runs.
    assert project.sql("corec_db", "SELECT current_database()").startswith("own_corec")
    other = postgres_server.create_database("other")
    named = project.run("psql.sh", "alert_db", "-XAtc", "SELECT 1", environ={"ALERT_DB_DSN": other})
    assert named.strip() == "1"
    project.run("stop.sh")
    psycopg2.connect(own["COREC_DB_DSN"]).close()


def test_psql_names_the_databases_it_knows(project: Project) -> None:
    result = project.script("psql.sh", "trading_db")
    assert result.returncode == 1
    assert "corec_db|alert_db" in result.stderr
    assert "trading_db" in result.stderr
