"""What runs inside the containers, here without one: entry points, tables, health check."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from aiohttp import web

from tests.launcher.project import PROJECT, clean_environ
from tests.support.servers import TestPostgres, guarded_directory

DEPLOY = PROJECT / "deploy"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder that stands for /run/secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


def copied(script: str, tmp_path: Path, secrets: Path) -> str:
    """A copy of a script that looks for its secrets where a test may put some."""
    text = (DEPLOY / script).read_text(encoding="utf-8")
    assert "/run/secrets/" in text
    copy = tmp_path / Path(script).name
    copy.write_text(text.replace("/run/secrets", str(secrets)), encoding="utf-8")
    return str(copy)


def test_names_with_a_secrets_file_get_its_content(tmp_path: Path, secrets: Path) -> None:
    script = copied("docker/entrypoint.sh", tmp_path, secrets)
    (secrets / "dsn").write_text("postgresql://u:p$w'd@h/b?a=1")
    (secrets / "empty").write_text("")
    environ = {
        "PATH": os.environ["PATH"],
        "COREC_DB_DSN_FILE": str(secrets / "dsn"),
        "SMTP_PASSWORD_FILE": str(secrets / "empty"),
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",  # another matter
        "COREC_LOG_FILE": "/nonexistent/corec.log",
    }
    command = ["sh", script, sys.executable, "-c", "import os; print(dict(os.environ))"]
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    assert "'COREC_DB_DSN': \"postgresql://u:p$w'd@h/b?a=1\"" in told
    assert "'SMTP_PASSWORD': ''" in told
    assert "'SSL_CERT':" not in told
    assert "'COREC_LOG':" not in told


def test_a_secret_that_is_missing_stops_the_container(tmp_path: Path, secrets: Path) -> None:
    script = copied("docker/entrypoint.sh", tmp_path, secrets)
    environ = {"PATH": os.environ["PATH"], "REDIS_URL_FILE": str(secrets / "absent")}
    done = subprocess.run(
        ["sh", script, "echo", "started"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "started" not in done.stdout
    assert "absent" in done.stderr


def test_postgres_starts_with_the_secrets_password_and_never_without(
    tmp_path: Path, secrets: Path
) -> None:
    script = copied("postgres/entrypoint.sh", tmp_path, secrets)
    image = tmp_path / "bin" / "docker-entrypoint.sh"  # PostgreSQL's image brings it
    image.parent.mkdir()
    image.write_text('#!/bin/sh\necho "$POSTGRES_PASSWORD $*"\n')
    image.chmod(0o755)
    environ = {"PATH": f"{image.parent}:{os.environ['PATH']}", "POSTGRES_DB": "alert_db"}
    command = ["sh", script, "postgres"]
    (secrets / "db_password").write_text("s3creto")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "s3creto postgres\n"
    (secrets / "db_password").write_text("")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "La clave de alert_db está vacía en .env" in done.stderr


@pytest.fixture
def own_server() -> Iterator[TestPostgres]:
    """A server whose roles nobody else uses: they are the whole server's, not a database's."""
    with guarded_directory() as root:
        server = TestPostgres(root / "pg")
        server.root.mkdir()
        server.start()
        yield server
        server.stop("immediate")


def test_tables_roles_and_passwords_are_prepared_again_and_again(
    tmp_path: Path, secrets: Path, own_server: TestPostgres
) -> None:
    dsn = own_server.create_database("corec_db")
    script = copied("postgres/init/10-prepare.sh", tmp_path, secrets)

    def prepare(sql: str) -> subprocess.CompletedProcess[str]:
        environ = clean_environ() | {
            "PATH": f"{own_server.bin_dir}:{os.environ['PATH']}",
            "PGHOST": str(own_server.root / "s"),
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": urlsplit(dsn).path.removeprefix("/"),
            "SQL": "/dev/stdin",
        }
        return subprocess.run(
            ["sh", script], env=environ, input=sql, capture_output=True, text=True, check=False
        )

    def rows(sql: str) -> list[tuple[Any, ...]]:
        link = psycopg2.connect(dsn)
        try:
            with link.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            link.close()

    stored = """
    SELECT rolpassword FROM pg_authid
     WHERE rolname IN ('postgres', 'corec_host', 'alert_reader')
    """
    folder = PROJECT / "configs" / "core"
    sql = (folder / "schema.sql").read_text() + (folder / "roles.sql").read_text()
    seen = set()
    for word in ("uno", "dos", "it's $(odd) \\ %"):
        for role in ("db", "corec_host", "alert_reader"):
            (secrets / f"{role}_password").write_text(f"{role} {word}")
        done = prepare(sql)
        assert done.returncode == 0, done.stderr
        assert word not in done.stdout + done.stderr
        seen |= {verifier for (verifier,) in rows(stored)}
    assert len(seen) == 9
    assert all(verifier.startswith("SCRAM-SHA-256$") for verifier in seen)
    rights = "SELECT has_table_privilege('alert_reader', 'eventos', %r)"
    assert [rows(rights % right) for right in ("SELECT", "DELETE")] == [[(True,)], [(False,)]]
    assert prepare("SELECT 1;\nSELECT nothing FROM nowhere;\n").returncode == 1


@pytest.fixture
async def health(unused_tcp_port: int) -> AsyncIterator[tuple[int, list[int]]]:
    """A server whose /health answers with the status in the list."""
    status = [200]

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"estado": status[0]}, status=status[0])

    app = web.Application()
    app.router.add_get("/health", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield unused_tcp_port, status
    await runner.cleanup()


async def _checked(port: int) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        DEPLOY / "docker" / "healthcheck.py",
        env={"COREC_HTTP_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


async def test_the_health_check_says_what_health_says(health: tuple[int, list[int]]) -> None:
    port, status = health
    assert await _checked(port) == (0, '{"estado": 200}\n')
    status[0] = 503
    assert await _checked(port) == (1, '{"estado": 503}\n')


async def test_the_health_check_fails_where_nothing_listens(unused_tcp_port: int) -> None:
    code, told = await _checked(unused_tcp_port)
    assert code == 1
    assert f"127.0.0.1:{unused_tcp_port}/health no responde" in told
