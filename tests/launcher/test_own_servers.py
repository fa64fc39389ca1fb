"""Servers of the user in place of the embedded ones, and libpq's variables in his environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg2
import pytest

from src.launcher.errors import LauncherError
from src.launcher.home import Home
from src.launcher.own_database import ASTRAY, hidden_secrets, wants_tls
from src.launcher.processes import wait_until
from src.launcher.services import Services, embedded_addresses
from tests.launcher.project import Project
from tests.support.servers import TestPostgres, TestRedis

pytestmark = pytest.mark.e2e

_SERVICE_FILE = """
import sys, psycopg2
print(psycopg2.connect(sys.argv[1]).info.dsn_parameters["sslpassword"])
"""


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


def test_it_starts_soon_without_the_redis_of_the_user_and_says_so(
    project: Project, tmp_path: Path
) -> None:
    began = time.monotonic()
    told = project.run("start.sh", environ={"REDIS_URL": f"unix://{tmp_path}/nadie.sock"})
    assert time.monotonic() - began < 30
    assert "en marcha y no del todo sano" in told
    assert "Aviso: redis: no responde" in told
    assert "./scripts/simulate.sh" in told


@pytest.fixture
def service(postgres_server: TestPostgres, tmp_path: Path) -> dict[str, str]:
    """libpq's variables that name the server of the tests; addresses need not."""
    path = tmp_path / "servicios.conf"
    sockets = postgres_server.root / "s"
    path.write_text(f"[familia]\nhost={sockets}\nport=5432\n", encoding="utf-8")
    return {"PGSERVICEFILE": str(path), "PGSERVICE": "familia"}


def _named(dsn: str) -> str:
    """An address that says the database and the role, and leaves the server out."""
    parts = psycopg2.extensions.parse_dsn(dsn)
    return f"dbname={parts['dbname']} user={parts['user']}"


def test_a_service_of_the_user_reaches_every_part(
    project: Project,
    postgres_server: TestPostgres,
    redis_server: TestRedis,
    service: dict[str, str],
) -> None:
    corec = postgres_server.create_database("service_corec", owner="corec_user")
    alert = postgres_server.create_database("service_alert", owner="alert_user")
    own = {
        **service,
        "COREC_DB_DSN": _named(corec),
        "ALERT_DB_DSN": _named(alert),
        "REDIS_URL": redis_server.url,
    }
    assert "en marcha y sano" in project.run("start.sh", environ=own)
    tables = "SELECT to_regclass('eventos'), to_regclass('alerts')"
    shown = project.run("psql.sh", "corec_db", "-XAtc", tables, environ=own)
    assert shown.strip() == "eventos|"
    assert "No hay alertas." in project.run("alerts.sh", "list", environ=own)
    assert not (project.home / "data" / "postgres").exists()


@pytest.mark.parametrize("name", ASTRAY)
def test_a_variable_that_only_one_of_two_databases_can_obey_is_refused(
    tmp_path: Path, name: str
) -> None:
    for own, inner in (("COREC_DB_DSN", "alert_db"), ("ALERT_DB_DSN", "corec_db")):
        with pytest.raises(LauncherError, match=f"^{name}: .*{inner}.*{own}"):
            Services.of(Home(tmp_path), {own: "dbname=mine", name: "x"})
    Services.of(Home(tmp_path), {"COREC_DB_DSN": "a=b", "ALERT_DB_DSN": "c=d", name: "x"})


def test_what_one_database_of_the_user_needs_reaches_main(tmp_path: Path) -> None:
    environ = {"COREC_DB_DSN": "dbname=mine", "PGPASSWORD": "clave", "PGSSLMODE": "require"}
    assert Services.of(Home(tmp_path), environ).host_environ() == environ


def test_libpq_variables_mean_nothing_to_the_embedded_server(project: Project) -> None:
    project.environ |= dict.fromkeys(ASTRAY, "require") | {
        "PGHOST": "10.0.0.1",
        "PGHOSTADDR": "10.0.0.1",
        "PGCLIENTENCODING": "LATIN1",
        "PGCONNECT_TIMEOUT": "3",
    }
    assert "en marcha y sano" in project.run("start.sh")
    assert project.sql("corec_db", "SHOW client_encoding") == "UTF8"
    assert "No hay alertas." in project.run("alerts.sh", "list")
    assert not [name for name in project.host.environ() if name.startswith("PG")]


def test_an_address_of_the_embedded_server_is_nobody_elses(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert Services.of(home, embedded_addresses(home)).own == {}
    foreign = embedded_addresses(Home(tmp_path / "other"))
    assert Services.of(home, foreign).own == foreign


def test_a_password_leaves_the_command_line() -> None:
    for dsn in ("postgresql://u:s%40fe@h:5/d?sslmode=require", "host=h user=u password='s@fe'"):
        with hidden_secrets(dsn, {"A": "b"}) as link:
            assert "s@fe" not in link.conninfo
            assert "s%40fe" not in link.conninfo
            assert link.environ == {"A": "b", "PGPASSWORD": "s@fe"}
    with hidden_secrets("dbname=d", {}) as link:
        assert (link.conninfo, link.environ, link.descriptors) == ("dbname=d", {}, ())


def test_the_password_of_a_tls_key_reaches_libpq_out_of_sight(
    postgres_server: TestPostgres,
) -> None:
    dsn = postgres_server.create_database("tls") + "&sslpassword=a%20%27b%23"
    with hidden_secrets(dsn, os.environ) as link:
        assert "'b" not in link.conninfo
        assert "sslpassword" not in link.conninfo
        seen = subprocess.run(
            [sys.executable, "-c", _SERVICE_FILE, link.conninfo],
            env=link.environ,
            pass_fds=link.descriptors,
            capture_output=True,
            text=True,
            check=True,
        )
    assert seen.stdout == "a 'b#\n"


def test_no_process_shows_a_secret_while_psql_runs(
    project: Project, postgres_server: TestPostgres
) -> None:
    dsn = postgres_server.create_database("shown")
    address = dsn.replace("@/", ":clav1@/") + "&sslpassword=clav2"
    project.environ["COREC_DB_DSN"] = address
    # It connects once more by itself: what it inherited can be read again.
    words = ("-XAtv", "ON_ERROR_STOP=1", "-c", "\\c", "-c", "SELECT pg_sleep(60)")
    with project.popen("psql.sh", "corec_db", *words) as psql:
        try:
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            assert wait_until(lambda: _value(dsn, asleep) == 1, 20), psql.poll()
            shown = [word for process in psutil.process_iter() for word in _words(process)]
            assert not [word for word in shown if "clav1" in word or "clav2" in word]
        finally:
            psql.kill()


def _value(dsn: str, sql: str) -> object:
    link = psycopg2.connect(dsn)
    try:
        with link.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]  # type: ignore[index]
    finally:
        link.close()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    ("dsn", "environ", "told"),
    [
        ("service=x sslpassword=s3cr", {}, "servicio «x»"),
        ("dbname=d sslpassword=s3cr", {"PGSERVICE": "y"}, "servicio «y»"),
        ("postgresql:///d?sslpassword=s3cr%0Ahost%3Devil", {}, "salto de línea"),
        ("postgresql:///d?sslpassword=s3cr%20", {}, "blanco al final"),
        ("postgresql://u:s3cr@fe@h:5/d?nonsense=s3cr", {}, "no se entiende"),
    ],
)
def test_a_secret_that_cannot_be_handed_on_is_not_quoted(
    dsn: str, environ: dict[str, str], told: str
) -> None:
    with pytest.raises(LauncherError, match=told) as caught, hidden_secrets(dsn, environ):
        pass
    assert "s3cr" not in str(caught.value)


def test_an_address_that_insists_on_tls_is_known() -> None:
    assert wants_tls("host=h sslmode=verify-full", {})
    assert wants_tls("host=h", {"PGSSLMODE": "require"})
    assert not wants_tls("host=h sslmode=prefer", {"PGSSLMODE": "require"})


def test_the_psql_of_the_wheel_refuses_tls_in_words(project: Project, tmp_path: Path) -> None:
    for name in ("bash", "dirname", "env", "readlink"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    result = project.script(
        *("psql.sh", "corec_db"),
        environ={"COREC_DB_DSN": "host=127.0.0.1 sslmode=require", "PATH": str(tmp_path)},
    )
    assert result.returncode == 1
    assert "postgresql-client" in result.stderr


def test_a_server_that_is_not_there_is_told_without_the_password(project: Project) -> None:
    own = {"COREC_DB_DSN": "postgresql://u:s3cr@127.0.0.1:1/d"}
    result = project.script("start.sh", environ=own)
    assert result.returncode == 1
    assert "COREC_DB_DSN" in result.stderr
    assert "127.0.0.1" in result.stderr
    assert "s3cr" not in result.stderr
    assert project.living() == []
