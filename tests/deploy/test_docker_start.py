"""start.sh --docker, on a machine whose docker does as it is told: what it asks of it, and says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy.checkout import DOCKER, SERVICES, Checkout


def test_without_docker_it_says_what_to_do(checkout: Checkout) -> None:
    only = checkout.root / "only"
    only.mkdir()
    for name in ("bash", "dirname", "readlink"):
        found = shutil.which(name)
        assert found is not None
        (only / name).symlink_to(found)
    done = checkout.run("start.sh", "--docker", PATH=str(only))
    assert done.returncode == 1
    assert "No se encuentra docker. Instálalo" in done.stderr
    assert "arranca sin --docker" in done.stderr
    assert not checkout.home.exists()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"FAILING": "compose*"}, "le falta compose v2"),
        ({"VERSION": "2.17.3"}, "docker compose es 2.17.3 y hace falta 2.24"),
        ({"VERSION": "v1.29.2"}, "docker compose es v1.29.2"),
        ({"FAILING": "info"}, "El motor de docker no responde"),
        ({"SERVICES": ""}, "docker compose no entiende docker-compose.yml o .env"),
        ({"FAILING": "*build*"}, "No se puede construir la imagen"),
        ({"FAILING": "*up -d*"}, "CoreC no llegó a estar en marcha en docker"),
        ({"FAILING": "exec*"}, "No se pueden preparar las tablas o la clave de alert_db"),
        ({"FAILING": "*check-config"}, "Corrígelo y repite ./scripts/start.sh --docker"),
    ],
)
def test_each_fault_is_told_in_words(
    checkout: Checkout, environ: dict[str, str], wanted: str
) -> None:
    done = checkout.run("start.sh", "--docker", **environ)
    assert done.returncode == 1
    assert wanted in done.stderr
    assert "en marcha y sano" not in done.stdout


def test_what_docker_says_of_a_failed_build_is_shown_and_kept(checkout: Checkout) -> None:
    done = checkout.run("start.sh", "--docker", FAILING="*build*")
    assert "pip no llega a nada" in done.stderr
    log = checkout.home / "docker-build.log"
    assert str(log) in done.stderr
    assert log.read_text() == "pip no llega a nada\n"


@pytest.mark.parametrize("version", ["2.24.0", "v2.40.1", "5.0.2-desktop.1", ""])
def test_newer_and_unknown_versions_of_compose_may_try(checkout: Checkout, version: str) -> None:
    done = checkout.run("start.sh", "--docker", VERSION=version)
    assert done.returncode == 0, done.stderr


def test_a_first_start_makes_env_and_starts_servers_tables_and_corec_in_turn(
    started: Checkout,
) -> None:
    assert (started.folder / ".env").stat().st_mode & 0o777 == 0o600
    steps = [
        *("config --services", "build corec1"),
        "up -d --wait --wait-timeout 180 --force-recreate alert_db postgres redis",
        *("corec_v4-alert_db-1 sh", "corec_v4-postgres-1 sh", "check-config"),
        "up -d --wait --wait-timeout 180 --no-deps --force-recreate corec1",
    ]
    lines = started.told.read_text().splitlines()
    places = [[part in line for line in lines].index(True) for part in steps]
    assert places == sorted(places)
    for line in started.asked("compose --") + started.asked("compose up"):
        assert line.startswith("compose --project-name corec_v4 ")
    # What the databases are given is the checkout's, not the container's.
    given = Path(f"{started.told}.stdin").read_text()
    for folder in ("configs/core", "configs/plugins/alert_manager"):
        for name in ("schema.sql", "roles.sql"):
            assert (started.folder / folder / name).read_text() in given


def test_a_second_start_makes_nothing_anew_and_a_changed_env_everything(started: Checkout) -> None:
    told = started.run("start.sh", "--docker")
    assert "en marcha y sano en docker" in told.stdout
    assert started.asked("--force-recreate") == []
    with (started.folder / ".env").open("a") as env:
        env.write("SMTP_PASSWORD=nueva\n")
    started.run("start.sh", "--docker")
    assert len(started.asked("--force-recreate")) == 2
    started.run("start.sh", "--docker")
    assert started.asked("--force-recreate") == []


def test_a_start_that_failed_is_repeated_whole(started: Checkout) -> None:
    with (started.folder / ".env").open("a") as env:
        env.write("SMTP_PASSWORD=nueva\n")
    started.run("start.sh", "--docker", FAILING="*check-config")
    started.run("start.sh", "--docker")
    assert len(started.asked("--force-recreate")) == 2


def test_services_of_the_familys_own_start_with_corec(checkout: Checkout) -> None:
    services = " ".join([*SERVICES, "trading_db", "corec2", "grafana"])
    done = checkout.run("start.sh", "--docker", SERVICES=services)
    assert done.returncode == 0, done.stderr
    assert len(checkout.asked("alert_db postgres redis trading_db")) == 1
    assert len(checkout.asked("corec1 corec2 grafana")) == 1
    assert len(checkout.asked("corec_v4-trading_db-1 sh")) == 1
    assert checkout.asked("corec_v4-grafana-1 sh") == []


def test_compose_files_that_the_shell_has_of_another_project_do_not_count(
    checkout: Checkout,
) -> None:
    program = checkout.root / "bin" / "docker"
    program.write_text(DOCKER + 'printf "<%s>\\n" "${COMPOSE_FILE-unset}" >>"$TOLD"\n')
    checkout.run("start.sh", "--docker", COMPOSE_FILE="otro.yml", COMPOSE_PROJECT_NAME="otro")
    seen = {line for line in checkout.told.read_text().splitlines() if line.startswith("<")}
    assert "<unset>" in seen
    lines = checkout.told.read_text().splitlines()
    ups = [index for index, line in enumerate(lines) if "up -d" in line]
    assert ups
    assert all(lines[index + 1] == "<unset>" for index in ups)


def test_files_that_containers_cannot_read_are_named(checkout: Checkout) -> None:
    schema = checkout.folder / "configs" / "core" / "schema.sql"
    schema.chmod(0o600)
    done = checkout.run("start.sh", "--docker")
    assert done.returncode == 1
    assert "no pueden leer configs/core/schema.sql" in done.stderr
    assert "chmod -R o+rX configs deploy" in done.stderr


def test_docker_goes_alone(checkout: Checkout) -> None:
    done = checkout.run("start.sh", "--docker", "--foreground")
    assert (done.returncode, "--docker va solo" in done.stderr) == (1, True)
