"""The real run in containers: `./scripts/test.sh -m docker`, on a machine with a Docker engine.

It builds the image (packages by pip; COREC_TEST_PIP_NO_INDEX=1 takes those that the base image
brings), uses the project's name and its volumes, and removes them at its end. The tests follow each
other: one stack, from its first start to its stop.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.deploy.compose_files import SIBLINGS
from tests.deploy.specification import LOOK, SCHEMA, SIMULATION, TITLES
from tests.deploy.stack import (
    IMAGE,
    LABEL,
    Stack,
    container,
    docker,
    eventually,
    health,
    in_terminal,
    inspected,
    logs,
    need_engine,
    told_of,
)
from tests.launcher.project import PROJECT
from tests.support.servers import guarded_directory

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

FOUR = ("redis", "postgres", "alert_db", "corec1")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A checkout without .env, started by start.sh --docker alone; nothing of it is left."""
    need_engine()
    had_image = bool(docker("images", "-q", IMAGE).strip())
    with guarded_directory() as root:
        stack = Stack.copied(root / "corec")
        try:
            told = stack.run("start.sh", "--docker")
            assert "CoreC está en marcha y sano en docker (proyecto corec_v4): corec1" in told
            assert "alert_manager.yaml: válido" in told
            yield stack
        finally:
            stack.script("stop.sh")
            docker("compose", "--project-name", "corec_v4", "down", "--volumes")
            for volume in docker("volume", "ls", "-q", "--filter", LABEL).split():
                docker("volume", "rm", volume)
            if not had_image:
                docker("rmi", IMAGE)


def test_the_four_containers_of_the_contract_are_healthy(stack: Stack) -> None:
    names = docker("ps", "--format", "{{.Names}}", "--filter", LABEL).split()
    assert sorted(names) == sorted(container(service) for service in FOUR)
    assert [health(service) for service in FOUR] == ["healthy"] * 4
    assert (stack.folder / ".env").stat().st_mode & 0o777 == 0o600


def test_the_specs_five_inserts_become_five_alerts(stack: Stack) -> None:
    stack.shell(SIMULATION)
    assert eventually(lambda: len(stack.alerts()) >= 5, 20) < 10
    found = stack.alerts()
    assert [alert["title"] for alert in found] == TITLES
    assert [alert["severity"] for alert in found] == ["critica", "alta", "alta", "alta", "alta"]


def test_the_specs_look_at_alerts_shows_them(stack: Stack) -> None:
    shown = in_terminal(LOOK)
    columns = [part.strip() for part in shown.split("\n")[0].split("|")]
    assert columns[:6] == ["id", "severity", "message", "channel", "event_data", "timestamp"]
    severities = re.findall(r"\d \| (critica|alta|media|baja) +\|", shown)
    assert severities == ["critica", "alta", "alta", "alta", "alta"]
    assert "(5 rows)" in shown


def test_docker_logs_shows_a_line_for_each_alert(stack: Stack) -> None:
    done = stack.shell("docker logs corec_v4-corec1-1 2>&1")
    assert sum(" ALERTA " in line for line in done.splitlines()) == 5
    assert [told_of(title) for title in TITLES] == [1] * 5
    assert not re.search(r" (ERROR|CRITICAL) +(?! |corec\.alertas)", done)


def test_the_specs_schema_by_docker_cp_runs_again_and_changes_nothing(stack: Stack) -> None:
    before = stack.run("psql.sh", "alert_db", "-c", r"\d+ alerts")
    told = stack.shell(SCHEMA)
    assert "ERROR" not in told
    assert stack.run("psql.sh", "alert_db", "-c", r"\d+ alerts") == before
    assert len(stack.alerts()) == 5


def test_servers_started_without_a_fault(stack: Stack) -> None:
    for service in ("postgres", "alert_db"):
        faults = [line for line in logs(container(service)) if re.search("ERROR|FATAL|PANIC", line)]
        assert faults == []
    encoding = stack.run("psql.sh", "alert_db", "-XAtc", "SHOW server_encoding")
    assert encoding.strip() == "UTF8"


def test_the_projects_scripts_work_on_it(stack: Stack) -> None:
    stack.run("simulate.sh")
    eventually(lambda: [a["occurrences"] for a in stack.alerts()] == [2] * 5, 20)
    assert "Circuit breaker abierto" in stack.run("alerts.sh", "show", "1")
    (stack.folder / "mío.sql").write_text("SELECT 'así';")
    assert stack.run("psql.sh", "corec_db", "-XAt", "-f", "mío.sql") == "así\n"
    assert "válido" in stack.run("alerts.sh", "check-config")
    (stack.folder / "nuevo.yaml").write_text("canales: []\n")
    bad = stack.script("alerts.sh", "check-config", "nuevo.yaml")
    assert (bad.returncode, "canales: clave desconocida" in bad.stderr) == (1, True)
    shipped = stack.folder / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
    (stack.folder / "nuevo.yaml").write_text(shipped.read_text().replace("vix: 20 ", "vix: 30 "))
    told = stack.run("alerts.sh", "backtest", "--since", "1d", "--config", "nuevo.yaml")
    assert "VIX en 22" in told
    assert json.loads(stack.run("alerts.sh", "status", "--json"))["health"]["estado"] == "ok"
    assert "0 fallos" in stack.run("alerts.sh", "doctor")


def test_a_change_of_the_configuration_counts_without_a_restart(stack: Stack) -> None:
    path = stack.folder / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count("withdrawal: 500 ") == 1
    new = path.with_name("new")  # as editors do: another file takes its place
    new.write_text(text.replace("withdrawal: 500 ", "withdrawal: 50 "), encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
    eventually(lambda: any("configuración" in line for line in logs(container("corec1"))), 20)
    stack.write('{"user_id": "ana", "action": "withdraw", "amount": 60}', "capital_data")
    eventually(lambda: told_of("Retiro de $60.00 de ana"), 20)


def test_no_secret_is_shown_by_docker_or_in_a_log(stack: Stack) -> None:
    secrets = stack.secrets()
    assert len(secrets) == 15
    ids = docker("ps", "-aq", "--filter", LABEL).split()
    shown = docker("inspect", *ids) + docker("inspect", IMAGE)
    shown += docker("history", "--no-trunc", IMAGE)
    shown += "\n".join(line for service in FOUR for line in logs(container(service)))
    assert [secret for secret in secrets if secret in shown] == []


def test_the_image_holds_the_program_and_nothing_of_the_checkout(stack: Stack) -> None:
    listed = docker("run", "--rm", "--entrypoint", "ls", IMAGE, "-A", "/app").split()
    assert set(listed) == {
        "main.py",
        "requirements.txt",
        "constraints.txt",
        "src",
        "deploy",
    }


def test_corec_is_no_root_and_may_change_nothing_of_itself(stack: Stack) -> None:
    def tried(*command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["docker", "exec", container("corec1"), *command],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    assert tried("id", "-u") == (0, "10001")
    for path in ("/app/main.py", "/app/src/core/nucleus.py", "/opt/corec/bin/python"):
        assert tried("sh", "-c", f"test ! -w {path}") == (0, "")
    assert tried("sh", "-c", "test -w /var/lib/corec") == (0, "")
    code, capabilities = tried("grep", "CapEff", "/proc/1/status")
    assert (code, int(capabilities.split()[1], 16)) == (0, 0)


@pytest.mark.parametrize("service", FOUR)
def test_limits_and_the_restart_policy_reach_the_engine(stack: Stack, service: str) -> None:
    host = inspected(container(service))["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["Memory"] in (384 * 2**20, 512 * 2**20)
    assert host["NanoCpus"] in (500_000_000, 1_000_000_000)
    assert host["PidsLimit"] in (100, 200, 300)
    assert host["PortBindings"] in (None, {})


_RIGHTS = """
import os, psycopg2
for variable in ("COREC_DB_DSN", "ALERT_COREC_DB_DSN", "ALERT_DB_DSN"):
    link = psycopg2.connect(os.environ[variable])
    cursor = link.cursor()
    cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
    print(*cursor.fetchone())
    table = "alerts" if variable == "ALERT_DB_DSN" else "eventos"
    for sql in (f"DROP TABLE {table}", "CREATE TABLE mine ()", f"TRUNCATE {table}"):
        link.rollback()
        try:
            cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege:
            continue
        raise SystemExit(f"{variable} may {sql}")
"""


def test_corec_works_by_roles_that_may_little(stack: Stack) -> None:
    told = docker(
        *("exec", "-i", container("corec1"), "/app/deploy/docker/entrypoint.sh", "python", "-"),
        stdin=_RIGHTS,
    )
    assert told.splitlines() == [
        "corec_host False",
        "alert_reader False",
        "alert_manager_app False",
    ]


_WITHOUT_PASSWORD = """
import psycopg2, redis
for role, host in (("corec_host", "postgres"), ("alert_user", "alert_db")):
    try:
        psycopg2.connect(host=host, user=role, dbname=host.replace("postgres", "corec_db"))
    except psycopg2.OperationalError as error:
        assert "no password supplied" in str(error), error
    else:
        raise SystemExit(f"{host} is open")
try:
    redis.Redis("redis").ping()
except redis.AuthenticationError:
    print("closed")
"""


def test_nobody_gets_in_without_a_password(stack: Stack) -> None:
    told = docker("exec", "-i", container("corec1"), "python", "-", stdin=_WITHOUT_PASSWORD)
    assert told == "closed\n"


def test_a_second_start_says_that_it_runs_and_leaves_it_alone(stack: Stack) -> None:
    before = {service: inspected(container(service))["State"]["StartedAt"] for service in FOUR}
    assert "en marcha y sano" in stack.run("start.sh", "--docker")
    after = {service: inspected(container(service))["State"]["StartedAt"] for service in FOUR}
    assert after == before
    refused = stack.script("start.sh")
    assert (refused.returncode, "con docker" in refused.stderr) == (1, True)


def test_a_corec_that_dies_comes_back_and_loses_nothing(stack: Stack) -> None:
    # Every process but the first, which only passes signals on and ends with CoreC.
    subprocess.run(["docker", "exec", container("corec1"), "sh", "-c", "kill -9 -1"], check=False)
    stack.write('{"tipo": "db_connection_error", "plugin": "mientras"}')
    eventually(lambda: told_of("mientras sin base de datos"), 60)
    eventually(lambda: health("corec1") == "healthy", 60)
    assert inspected(container("corec1"))["RestartCount"] >= 1


def test_health_of_the_container_follows_its_parts(stack: Stack) -> None:
    docker("stop", container("alert_db"))
    # Three checks of five seconds, and the start's allowance is behind it.
    eventually(lambda: health("corec1") == "unhealthy", 60)
    docker("start", container("alert_db"))
    eventually(lambda: health("corec1") == "healthy", 60)


def test_a_lost_env_is_made_anew_and_the_data_stay(stack: Stack) -> None:
    before, secrets = len(stack.alerts()), stack.secrets()
    stack.drop_env("")
    stack.run("start.sh", "--docker")
    assert stack.secrets().isdisjoint(secrets)
    assert len(stack.alerts()) == before
    stack.write('{"tipo": "db_connection_error", "plugin": "con_claves_nuevas"}')
    eventually(lambda: told_of("con_claves_nuevas sin base de datos"), 20)


def test_a_second_instance_takes_over_when_the_first_is_killed(stack: Stack) -> None:
    stack.add_env("COMPOSE_FILE=docker-compose.yml:docker-compose.standby.yml")
    assert "corec1 corec2" in stack.run("start.sh", "--docker")
    assert health("corec2") == "healthy"
    stack.write('{"tipo": "db_connection_error", "plugin": "lo_lee_uno"}')
    eventually(lambda: told_of("lo_lee_uno") + told_of("lo_lee_uno", "corec2"), 20)
    leader = "corec1" if told_of("lo_lee_uno") else "corec2"
    other = "corec2" if leader == "corec1" else "corec1"
    docker("kill", container(leader))
    stack.write('{"tipo": "db_connection_error", "plugin": "lo_lee_otro"}')
    seconds = eventually(lambda: told_of("lo_lee_otro", other), 30)
    assert seconds < 15
    assert [a["title"] for a in stack.alerts()].count("lo_lee_otro sin base de datos") == 1
    assert told_of("lo_lee_uno", other) == 0
    eventually(lambda: health(other) == "healthy", 60)
    docker("start", container(leader))
    eventually(lambda: health(leader) == "healthy", 60)


def test_databases_of_the_trading_plugins_start_with_their_profile(stack: Stack) -> None:
    stack.add_env("COMPOSE_PROFILES=trading")
    stack.run("start.sh", "--docker")
    assert [health(service) for service in SIBLINGS] == ["healthy"] * 9
    for service in SIBLINGS:
        user = f"{service.removesuffix('_db')}_user"
        told = docker(
            *("exec", container(service), "psql", "-U", user, "-d", service),
            *("-XAtc", "SELECT current_database()"),
        )
        assert told.strip() == service


def test_stop_ends_all_of_it_and_the_data_stay(stack: Stack) -> None:
    before = [alert["id"] for alert in stack.alerts()]
    stack.run("stop.sh")
    assert docker("ps", "-aq", "--filter", LABEL) == ""
    assert docker("network", "ls", "-q", "--filter", LABEL) == ""
    assert "No hay nada en marcha." in stack.run("stop.sh")
    stack.run("start.sh", "--docker")
    assert [alert["id"] for alert in stack.alerts()] == before


def test_a_configuration_with_a_fault_is_told_and_does_not_start(stack: Stack) -> None:
    path = stack.folder / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nclave_de_nadie: 1\n", encoding="utf-8")
    done = stack.script("start.sh", "--docker")
    path.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert "clave_de_nadie: clave desconocida" in done.stdout + done.stderr
    assert "Corrígelo y repite" in done.stderr


def test_compose_by_hand_makes_the_tables_at_its_first_start(stack: Stack) -> None:
    stack.run("stop.sh")
    stack.drop_env("COMPOSE_")  # the four services alone, from here on
    for volume in docker("volume", "ls", "-q", "--filter", LABEL).split():
        docker("volume", "rm", volume)
    stack.shell("docker compose up -d --wait postgres alert_db")
    for service, role, table in (
        ("postgres", "corec_user", "eventos"),
        ("alert_db", "alert_user", "alerts"),
    ):
        database = "corec_db" if service == "postgres" else service
        told = docker(
            *("exec", container(service), "psql", "-U", role, "-d", database),
            *("-XAtc", f"SELECT count(*) FROM {table}"),
        )
        assert told == "0\n"
    stack.shell("docker compose up -d --wait corec1")
    assert health("corec1") == "healthy"


def _block(readme: str, heading: str) -> list[str]:
    text = (PROJECT / readme).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    lines = text.split("```bash\n")[1].split("```")[0].splitlines()
    return [line.split(" #")[0].rstrip() for line in lines]


def test_the_readmes_commands_work_as_printed(stack: Stack) -> None:
    commands = _block("README.md", "Con Docker")
    assert commands == _block("README.en.md", "With Docker")
    shown = {}
    for command in commands:
        shown[command] = in_terminal(f"cd '{stack.folder}' && {command}")
        if "simulate" in command:  # a person is not faster either
            eventually(lambda: [told_of(title) for title in TITLES] == [1] * 5, 20)
    assert len(shown) == 5
    assert "ALERTA" in shown["docker logs corec_v4-corec1-1"]
    assert "VIX en 22" in shown[LOOK]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown["./scripts/alerts.sh status"])
    assert "Estado: ok" in plain
