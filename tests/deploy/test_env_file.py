"""scripts/env_file.sh: the .env of docker compose, made and completed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose_files import EXAMPLE, example
from tests.launcher.project import PROJECT, clean_environ

# Those that no mail server gives: of databases, of Redis, of roles.
GENERATED = {name for name in example() if name.endswith("_PASSWORD")} - {"SMTP_PASSWORD"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with a blank in its path and no .env."""
    folder = tmp_path / "mi proyecto"
    folder.mkdir()
    (folder / ".env.example").write_bytes(EXAMPLE.read_bytes())
    return folder


def bash(folder: Path, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = (
        'set -euo pipefail; PROJECT="$1"; . "$2/lib.sh"; . "$2/env_file.sh"; umask 022; ' + command
    )
    return subprocess.run(
        ["bash", "-c", code, "bash", folder, PROJECT / "scripts"],
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(folder: Path) -> str:
    done = bash(folder, "prepare_env")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def values(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_a_new_one_has_a_random_password_for_each_database(folder: Path) -> None:
    told = prepare(folder)
    assert "Hago .env" in told
    made = values(folder)
    assert set(made) == set(example())
    secrets = {made[name] for name in GENERATED}
    assert len(secrets) == len(GENERATED) == 15
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)
    assert not any(secret in told for secret in secrets)
    assert {name: made[name] for name in set(made) - GENERATED} == {
        name: value for name, value in example().items() if name not in GENERATED
    }


def test_it_is_readable_for_its_owner_alone_and_stays_so(folder: Path) -> None:
    prepare(folder)
    env = folder / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    env.chmod(0o644)
    prepare(folder)
    assert env.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == [".env", ".env.example"]


def test_a_complete_one_is_left_as_it_is(folder: Path) -> None:
    prepare(folder)
    before = (folder / ".env").read_bytes(), (folder / ".env").stat().st_ino
    assert prepare(folder) == ""
    assert before == ((folder / ".env").read_bytes(), (folder / ".env").stat().st_ino)


def test_what_the_family_wrote_stays_and_what_is_missing_comes(folder: Path) -> None:
    (folder / ".env").write_text(
        "# nuestro\n"
        "export COREC_DB_PASSWORD = otra.de_antes # también de compose\n"
        "ALERT_DB_PASSWORD='la-de-siempre'\n"
        "REDIS_PASSWORD=   # luego\r\n"
        "SMTP_PASSWORD='con $ y espacios'\n"
        "COMPOSE_PROFILES=trading"
    )
    prepare(folder)
    lines = (folder / ".env").read_text().splitlines()
    assert lines[:3] == [
        "# nuestro",
        "export COREC_DB_PASSWORD = otra.de_antes # también de compose",
        "ALERT_DB_PASSWORD='la-de-siempre'",
    ]
    assert re.fullmatch("REDIS_PASSWORD=[0-9a-f]{48}", lines[3])
    assert lines[4:6] == ["SMTP_PASSWORD='con $ y espacios'", "COMPOSE_PROFILES=trading"]
    names = [line.split("=")[0] for line in lines[2:]]
    assert sorted([*names, "COREC_DB_PASSWORD"]) == sorted([*example(), "COMPOSE_PROFILES"])


@pytest.mark.parametrize("value", ["con/barra", "dos palabras", "'a@b'", "ñandú", "a:b"])
def test_a_password_that_breaks_an_address_is_refused_and_not_shown(
    folder: Path, value: str
) -> None:
    (folder / ".env").write_text(f"ALERT_DB_PASSWORD={value}\n", encoding="utf-8")
    done = bash(folder, "prepare_env")
    assert done.returncode == 1
    assert "ALERT_DB_PASSWORD en .env: solo puede llevar letras" in done.stderr
    assert value not in done.stderr + done.stdout
    assert (folder / ".env").read_text(encoding="utf-8") == f"ALERT_DB_PASSWORD={value}\n"


def test_without_the_example_it_says_what_helps(folder: Path) -> None:
    (folder / ".env.example").unlink()
    done = bash(folder, "prepare_env")
    assert done.returncode == 1
    assert "Recupéralo con git" in done.stderr


def test_the_checksum_changes_with_the_file_and_with_what_the_shell_has(folder: Path) -> None:
    prepare(folder)

    def checksum(**environ: str) -> str:
        return bash(folder, "env_checksum", **environ).stdout

    first = checksum()
    assert re.fullmatch(r"\d+ \d+\n", first)
    assert checksum(SOMETHING_ELSE="x") == first
    assert checksum(SMTP_PASSWORD="x") != first  # compose takes the shell's before the file's
    with (folder / ".env").open("a") as env:
        env.write("COMPOSE_PROFILES=trading\n")
    assert checksum() != first
