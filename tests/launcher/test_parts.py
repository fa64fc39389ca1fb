"""Paths, addresses and servers, without the scripts around them."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
import redis

from src.launcher.connect import database_dsn
from src.launcher.errors import LauncherError
from src.launcher.health import Endpoint
from src.launcher.home import PROJECT, SOCKET_PATH_BYTES, Home
from src.launcher.postgres import PostgresServer
from src.launcher.services import Services
from tests.support.servers import TestPostgres, TestRedis

_ODD = "a b 'c' \"d\" $e %f ñ"


def test_the_home_is_in_the_project_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Home.of({}).root == PROJECT / ".corec"
    assert Home.of({"COREC_HOME": ""}).root == PROJECT / ".corec"
    monkeypatch.chdir(tmp_path)
    assert Home.of({"COREC_HOME": "mine"}).root == tmp_path.resolve() / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.of({"COREC_HOME": "~/mine"}).root == tmp_path.resolve() / "mine"


@pytest.mark.parametrize("spare", [0, 1])
def test_sockets_leave_a_home_that_is_too_long(spare: int) -> None:
    name = len("/run/pg/.s.PGSQL.5432")
    home = Home(Path("/" + "x" * (SOCKET_PATH_BYTES - name - 1 + spare)))
    if spare == 0:
        assert home.sockets == home.run
    else:
        assert home.sockets.parent == Path("/tmp")
        other = Home(home.root.with_name(home.root.name + "y"))
        assert other.sockets != home.sockets


def test_sockets_leave_a_home_with_a_comma() -> None:
    assert Home(Path("/a,b")).sockets.parent == Path("/tmp")


@pytest.mark.parametrize("fault", ["symlink", "writable"])
def test_a_short_socket_folder_that_others_control_is_refused(tmp_path: Path, fault: str) -> None:
    home = Home(tmp_path / ("x" * 120))
    folder = home.sockets
    if fault == "symlink":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    try:
        with pytest.raises(LauncherError, match=str(folder)):
            home.prepare()
    finally:
        if fault == "symlink":
            folder.unlink()
        else:
            folder.rmdir()


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 33, "a b", "ñ", "postgres"])
def test_an_instance_id_that_makes_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LauncherError, match="INSTANCE_ID"):
        Home(tmp_path).instance(name)


@pytest.mark.parametrize("text", ["-1", "65536", "http", "1.5", "²"])
def test_a_port_that_is_none(text: str) -> None:
    with pytest.raises(LauncherError, match="0 a 65535"):
        Endpoint.of({"COREC_HTTP_PORT": text})


def test_the_address_to_ask() -> None:
    assert Endpoint.of({}) == Endpoint("127.0.0.1", 8000, None)
    everywhere = Endpoint.of({"COREC_HTTP_HOST": "0.0.0.0", "COREC_HTTP_PORT": "0"})
    assert everywhere.url(81) == "http://127.0.0.1:81"
    assert Endpoint.of({"COREC_HTTP_HOST": "::"}).url(81) == "http://[::1]:81"
    assert Endpoint("127.0.0.1", 1, None).ask(1) is None


def test_dsn_of_a_database(tmp_path: Path) -> None:
    environ = {"COREC_HOME": str(tmp_path), "COREC_DB_DSN": "dbname=mine"}
    assert database_dsn(environ, "corec_db") == "dbname=mine"
    with pytest.raises(LauncherError, match=r"start\.sh"):
        database_dsn(environ, "alert_db")
    with pytest.raises(LauncherError, match="corec_db o alert_db"):
        database_dsn(environ, "trading_db")


def test_an_address_of_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="REDIS_URL"):
        Services.of(Home(tmp_path), {"REDIS_URL": "redis://a\nCOREC_PSQL=/evil"})


def test_odd_characters_in_the_path(short_root: Path) -> None:
    postgres = TestPostgres(short_root / _ODD)
    postgres.root.mkdir()
    postgres.start()
    try:
        psycopg2.connect(postgres.create_database("odd")).close()
    finally:
        postgres.stop("immediate")
    cache = TestRedis(short_root / f"r {_ODD}")
    cache.root.mkdir()
    cache.start()
    try:
        client = redis.Redis.from_url(cache.url)
        assert client.ping()
        client.close()
    finally:
        cache.stop()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("PG_VERSION", "9\n", "son de PostgreSQL 9"),
        ("treasure", "mine", "no son datos de PostgreSQL"),
    ],
)
def test_data_that_are_not_this_servers_are_not_touched(
    postgres_server: TestPostgres, tmp_path: Path, name: str, text: str, told: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text(text)
    server = PostgresServer(postgres_server.bin_dir, data, tmp_path / "s", tmp_path / "log")
    with pytest.raises(LauncherError, match=told):
        server.start()
    assert {entry.name: entry.read_text() for entry in data.iterdir()} == {name: text}
