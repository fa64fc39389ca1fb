"""start.sh works by roles that may no more than they need, on a home of before, too."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from src.launcher.databases import DATABASES
from src.launcher.errors import LauncherError
from src.launcher.home import Home
from src.launcher.own_database import run_file
from src.launcher.processes import wait_until
from src.launcher.services import Services, embedded_addresses, embedded_postgres
from tests.launcher.project import Project, copy_project
from tests.support.servers import TestPostgres

USERS = (
    "SELECT DISTINCT usename FROM pg_stat_activity"
    " WHERE datname = '{}' AND application_name <> 'psql'"
)


def users(project: Project, database: str) -> set[str]:
    """The roles by which others than psql are connected to a database."""
    return set(project.sql(database, USERS.format(database)).split())


def alerts(project: Project) -> str:
    return project.sql("alert_db", "SELECT count(*) FROM alerts")


@pytest.mark.e2e
def test_it_works_by_lesser_roles_and_people_by_the_owners(project: Project) -> None:
    project.run("start.sh")
    environ = project.host.environ()
    named = {name: parse_dsn(environ[name])["user"] for spec in DATABASES for name in spec.users}
    assert named == {
        "COREC_DB_DSN": "corec_host",
        "ALERT_COREC_DB_DSN": "alert_reader",
        "ALERT_DB_DSN": "alert_manager_app",
    }
    project.run("simulate.sh")
    assert wait_until(lambda: alerts(project) == "5", 10)
    assert users(project, "corec_db") == {"corec_host", "alert_reader"}
    assert users(project, "alert_db") == {"alert_manager_app"}
    # What is of no use to it, the running CoreC is refused; people with psql are the owners.
    for database, user, sql in (
        ("corec_db", "corec_host", "DELETE FROM eventos"),
        ("corec_db", "alert_reader", "SELECT * FROM nodos"),
        ("alert_db", "alert_manager_app", "DROP TABLE alerts"),
    ):
        refused = project.script("psql.sh", database, "-U", user, "-c", sql)
        assert refused.returncode == 1
        assert "permission denied" in refused.stderr or "must be owner" in refused.stderr
    shown = json.loads(project.run("alerts.sh", "list", "--json"))
    assert len(shown) == 5
    project.run("alerts.sh", "ack", str(shown[0]["id"]))
    schema = project.folder / "configs" / "plugins" / "alert_manager" / "schema.sql"
    project.run("psql.sh", "alert_db", "-f", str(schema))
    assert project.sql("corec_db", "SELECT current_user") == "corec_user"


@pytest.mark.e2e
def test_a_home_of_before_is_taken_over_and_a_running_one_mended(
    project: Project, short_root: Path
) -> None:
    """An older version made it, as the owners, and started CoreC by their addresses."""
    older = copy_project(short_root / "older", venv=True)
    databases = older / "src" / "launcher" / "databases.py"
    text = databases.read_text(encoding="utf-8")
    for role, owner in (
        ("corec_host", "corec_user"),
        ("alert_reader", "corec_user"),
        ("alert_manager_app", "alert_user"),
    ):
        text = text.replace(f'"{role}"', f'"{owner}"')
    databases.write_text(text, encoding="utf-8")
    for folder in ("core", "plugins/alert_manager"):
        (older / "configs" / folder / "roles.sql").write_text("SELECT 1;", encoding="utf-8")
    before = Project(project.home, folder=older)
    before.run("start.sh")
    assert users(project, "alert_db") == {"alert_user"}
    before.run("simulate.sh")
    assert wait_until(lambda: alerts(project) == "5", 10)
    # The new version's start on the running older one: its addresses are of this home, too.
    redis = project.redis
    redis.kill()
    redis.wait(10)
    assert "Redis" in project.run("start.sh")
    assert users(project, "alert_db") == {"alert_user"}
    project.run("stop.sh")
    project.run("start.sh")
    assert users(project, "alert_db") == {"alert_manager_app"}
    assert alerts(project) == "5"
    project.run("simulate.sh")
    repeated = "SELECT min(occurrences) FROM alerts WHERE channel <> 'alert_data'"
    assert wait_until(lambda: project.sql("alert_db", repeated) == "2", 10)


def test_whoever_works_in_a_database_of_the_users_he_says(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ours = embedded_addresses(home)
    own = Services.of(home, {**ours, "COREC_DB_DSN": "dbname=mine"})
    assert own.own == {"COREC_DB_DSN": "dbname=mine"}
    assert set(own._embedded_addresses()) == {"ALERT_DB_DSN", "REDIS_URL"}
    assert own.host_environ() == {"COREC_DB_DSN": "dbname=mine"}  # not the plugin's embedded one
    both = {"COREC_DB_DSN": "dbname=mine", "ALERT_COREC_DB_DSN": "dbname=mine user=reader"}
    assert Services.of(home, both).host_environ() == both
    owner = embedded_postgres(home).dsn("corec_db", "corec_user")
    assert Services.of(home, {"COREC_DB_DSN": owner}).own == {}  # of a CoreC of before
    with pytest.raises(LauncherError, match=r"^ALERT_COREC_DB_DSN sin COREC_DB_DSN"):
        Services.of(home, {"ALERT_COREC_DB_DSN": "dbname=mine"})


def test_a_role_of_the_users_that_may_not_make_tables_says_who_does(
    postgres_server: TestPostgres,
) -> None:
    postgres_server.create_role("visitor")
    for spec in DATABASES:
        owners = postgres_server.create_database("roles", owner=spec.owner)
        visitors = postgres_server.dsn(parse_dsn(owners)["dbname"], "visitor")
        with pytest.raises(LauncherError, match=rf"{spec.variable} no puede: .* psql -f .*schema"):
            run_file(visitors, spec.schema, spec.variable)
        run_file(owners, spec.schema, spec.variable)
        run_file(visitors, spec.schema, spec.variable)  # there is nothing left to do


def test_roles_are_known_to_the_server_that_cannot_say_all() -> None:
    known = set(embedded_postgres(Home(Path(os.devnull))).roles)
    assert {role for spec in DATABASES for role in (spec.owner, *spec.users.values())} < known
