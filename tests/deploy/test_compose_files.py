"""docker-compose.yml, the Dockerfile and .env.example keep what they promise; no engine needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.launcher import databases
from tests.deploy.compose_files import SIBLINGS, STANDBY, example, load, variables_read
from tests.launcher.project import PROJECT

COMPOSE: dict[str, Any] = load()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DATABASES = ("postgres", "alert_db", *SIBLINGS)
IMAGES = {"redis": "redis:7.2", "corec1": "corec_v4"} | dict.fromkeys(DATABASES, "postgres:15")

every_service = pytest.mark.parametrize("name", SERVICES)


def test_the_project_and_its_services_have_the_names_of_the_contract() -> None:
    assert COMPOSE["name"] == "corec_v4"
    assert set(SERVICES) == {"redis", "postgres", "alert_db", "corec1", *SIBLINGS}
    assert not any("container_name" in service for service in SERVICES.values())


@every_service
def test_every_service_is_watched_started_again_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == IMAGES[name]
    assert service["restart"] == "unless-stopped"
    assert set(service["healthcheck"]) >= {"test", "interval", "timeout", "retries", "start_period"}
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert "no-new-privileges:true" in service["security_opt"]


@every_service
def test_no_service_is_open_to_the_machine_or_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["networks"] == ["corec-network"]
    for key in ("ports", "privileged", "network_mode", "devices", "cap_add", "pid"):
        assert key not in service
    binds = [volume for volume in service["volumes"] if volume.startswith((".", "/"))]
    assert all(volume.endswith(":ro") for volume in binds)


@every_service
def test_data_of_a_service_is_in_a_volume_with_its_name(name: str) -> None:
    kept = [volume.split(":")[0] for volume in SERVICES[name]["volumes"] if volume[0] not in "./"]
    assert kept == [f"{name}-data"]
    assert kept[0] in COMPOSE["volumes"]


@every_service
def test_no_secret_is_in_the_environment_of_a_service(name: str) -> None:
    """`docker inspect` shows environment, command and health check."""
    service = SERVICES[name]
    secret = {variable for variable in variables_read() if _is_secret(variable)}
    shown = yaml.safe_dump(service)
    assert not [variable for variable in secret if f"${{{variable}" in shown]
    for variable in service.get("environment", ()):
        if _is_secret(variable) or variable.endswith(("_DSN", "REDIS_URL")):
            pytest.fail(f"{name}: {variable} carries a secret")


def _is_secret(variable: str) -> bool:
    return variable.endswith(("PASSWORD", "WEBHOOK_URL", "TOKEN"))


def test_no_secret_has_a_literal_value() -> None:
    assert all(set(secret) == {"environment"} for secret in COMPOSE["secrets"].values())
    for config in COMPOSE["configs"].values():
        for line in config["content"].splitlines():
            if "requirepass" in line or "://" in line:
                assert re.search(r"\$\{[A-Z_]+_PASSWORD:\?", line), line
    empty = {name for name, value in example().items() if _is_secret(name) and value}
    assert empty == set()


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_is_ready_only_when_its_tables_are(name: str) -> None:
    """The server of the first start's scripts has no TCP; a check by its socket would find it."""
    (_, command) = SERVICES[name]["healthcheck"]["test"]
    assert "-h 127.0.0.1" in command
    assert SERVICES[name]["stop_signal"] == "SIGINT"
    assert SERVICES[name]["environment"]["LANG"] == "C.UTF-8"


@pytest.mark.parametrize(
    ("name", "folder"),
    [("postgres", "./configs/core"), ("alert_db", "./configs/plugins/alert_manager")],
)
def test_schemas_and_roles_are_applied_at_the_first_start(name: str, folder: str) -> None:
    volumes = SERVICES[name]["volumes"]
    files = (f"{folder}/schema.sql", f"{folder}/roles.sql")
    assert {f"{file}:/corec/{Path(file).name}:ro" for file in files} <= set(volumes)
    assert "./deploy/postgres/init:/docker-entrypoint-initdb.d:ro" in volumes
    for source in (*files, "deploy/postgres/init/10-prepare.sh", "deploy/postgres/entrypoint.sh"):
        assert (PROJECT / source).is_file()


@pytest.mark.parametrize("name", SIBLINGS)
def test_databases_of_the_trading_plugins_come_with_their_profile(name: str) -> None:
    assert SERVICES[name]["profiles"] == ["trading"]
    assert SERVICES["corec1"]["depends_on"][name] == {
        "condition": "service_healthy",
        "required": False,
    }
    user = f"{name.removesuffix('_db')}_user"
    environment = SERVICES[name]["environment"]
    assert (environment["POSTGRES_DB"], environment["POSTGRES_USER"]) == (name, user)


def test_without_the_profile_the_four_services_start() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == [
        *("redis", "postgres", "alert_db", "corec1")
    ]
    depends = SERVICES["corec1"]["depends_on"]
    assert {name for name, how in depends.items() if how.get("required", True)} == {
        *("redis", "postgres", "alert_db")
    }
    assert depends["redis"] == {"condition": "service_started"}  # CoreC works without it


def test_http_stays_on_the_containers_loopback() -> None:
    environment = SERVICES["corec1"]["environment"]
    assert environment["COREC_HTTP_HOST"] == "127.0.0.1"
    assert "COREC_HTTP_TOKEN" not in environment
    assert SERVICES["corec1"]["healthcheck"]["test"][-1] == "deploy/docker/healthcheck.py"


def test_every_variable_of_the_shipped_configuration_reaches_the_container() -> None:
    text = (PROJECT / "configs/plugins/alert_manager/alert_manager.yaml").read_text("utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    wanted = set(re.findall(r"\$\{([A-Z_]+)", body))
    given = {name.removesuffix("_FILE") for name in SERVICES["corec1"]["environment"]}
    # ALERT_DB_DSN takes the place of db_config.
    assert {name for name in wanted if not name.startswith("ALERT_DB_")} - given == set()


def test_the_example_names_exactly_what_compose_reads() -> None:
    assert set(example()) == variables_read()


def test_corec_works_by_the_roles_and_knows_no_owners_password() -> None:
    """Those of `src/launcher/databases.py`, which start.sh without Docker takes."""
    environment = SERVICES["corec1"]["environment"]
    mounted = {entry["target"]: entry["source"] for entry in SERVICES["corec1"]["configs"]}
    known = ""
    for spec in databases.DATABASES:
        for variable, role in spec.users.items():
            content = COMPOSE["configs"][mounted[environment[f"{variable}_FILE"]]]["content"]
            assert f"//{role}:" in content
            assert content.endswith(f":5432/{spec.name}")
            known += content
    for owner in ("COREC_DB_PASSWORD", "ALERT_DB_PASSWORD"):
        assert owner not in known
    assert not {"corec_db_password", "alert_db_password"} & set(SERVICES["corec1"]["secrets"])


def test_secrets_of_the_compose_file_are_all_used() -> None:
    used = set()
    for service in SERVICES.values():
        used |= {
            entry["source"] if isinstance(entry, dict) else entry for entry in service["secrets"]
        }
    assert used == set(COMPOSE["secrets"])


def test_the_standby_is_corec1_under_another_name_with_its_own_data() -> None:
    standby = yaml.safe_load(STANDBY.read_text("utf-8"))
    corec2 = standby["services"]["corec2"]
    assert corec2["extends"] == {"file": "docker-compose.yml", "service": "corec1"}
    assert corec2["environment"] == {"INSTANCE_ID": "corec2"}
    assert corec2["volumes"] == ["corec2-data:/var/lib/corec"]
    assert "corec2-data" in standby["volumes"]


DOCKERFILE = (PROJECT / "Dockerfile").read_text("utf-8")


def test_the_image_has_a_pinned_base_and_no_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases == ["python:3.11-slim", "python:3.11-slim"]
    last_stage = DOCKERFILE.split("FROM ")[-1]
    [user] = re.findall(r"^USER (\S+)", last_stage, re.MULTILINE)
    assert user == "10001:10001"
    # Nothing is changed after it, and corec owns only its state.
    assert re.search(r"^(RUN|COPY|ADD)", last_stage.split("\nUSER ")[1], re.MULTILINE) is None
    assert "--chown" not in last_stage


def test_the_image_installs_what_was_tested_together() -> None:
    [install] = [part for part in DOCKERFILE.split("\nRUN ") if "install --no-cache-dir" in part]
    assert "-r /build/requirements.txt -c /build/constraints.txt" in install
    assert "ARG PIP_NO_INDEX=" in DOCKERFILE


def test_only_what_is_named_gets_into_the_image() -> None:
    lines = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [line[1:] for line in rules if line.startswith("!")]
    assert allowed == [*("main.py", "requirements.txt", "constraints.txt", "src", "deploy/docker")]
    assert all((PROJECT / name).exists() for name in allowed)
