"""Databases that tests have one after the other: nothing of a test reaches the next."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.conftest import CORE_SCHEMA
from tests.support.databases import Databases
from tests.support.servers import TestPostgres


def name_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


def run(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def databases(postgres_server: TestPostgres) -> Databases:
    return Databases(postgres_server, "used", "corec_user", CORE_SCHEMA)


def oid(dsn: str) -> list[tuple[object, ...]]:
    return run(dsn, "SELECT oid FROM pg_database WHERE datname = current_database()")


@pytest.mark.parametrize(
    ("left", "is_reused"),
    [
        ("INSERT INTO eventos (canal) VALUES ('x')", True),
        ("CREATE TABLE mine (a int); ALTER TABLE eventos ADD COLUMN more int", True),
        ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", True),
        ("REVOKE ALL ON SCHEMA public FROM public; GRANT ALL ON SCHEMA public TO public", True),
        ("DROP SCHEMA public CASCADE", True),
        ("CREATE SCHEMA mine", False),
        ("CREATE EXTENSION btree_gist", False),
        ("ALTER DATABASE {name} SET work_mem = '1MB'", False),
        ("ALTER ROLE corec_user IN DATABASE {name} SET work_mem = '1MB'", False),
        ("ALTER DATABASE {name} CONNECTION LIMIT 5", False),
        ("REVOKE CONNECT ON DATABASE {name} FROM public", False),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public", False),
        ("SELECT lo_create(0)", False),
        ("CREATE PUBLICATION mine", False),
    ],
)
def test_what_one_leaves_the_next_does_not_find(
    postgres_server: TestPostgres, databases: Databases, left: str, is_reused: bool
) -> None:
    with databases.one() as before:
        used = oid(before)
        run(postgres_server.dsn(name_of(before)), left.format(name=name_of(before)))
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(before)
    with databases.one() as after:
        assert (oid(after) == used) is is_reused
        columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'eventos'"
        assert run(after, f"SELECT current_user, count(*), ({columns}) FROM eventos") == [
            ("corec_user", 0, 5)
        ]
        tables = (
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename = 'mine'"
        )
        functions = "SELECT proname FROM pg_proc WHERE proname = 'mine'"
        assert run(after, f"{tables} UNION {functions}") == []
        rights = (
            "SELECT has_schema_privilege('public', 'public', 'CREATE'), current_setting('work_mem')"
        )
        assert run(after, rights) == [(False, "4MB")]


def test_who_is_connected_still_is_not_so_any_more(databases: Databases) -> None:
    with databases.one() as before:
        used, link = oid(before), psycopg2.connect(before)
        with link.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(1)")
    with databases.one() as after:
        assert oid(after) == used
        assert run(after, "SELECT pg_try_advisory_lock(1)") == [(True,)]
        with pytest.raises(psycopg2.OperationalError), link.cursor() as cursor:
            cursor.execute("SELECT 1")
    link.close()


def test_a_prepared_transaction_is_found(
    postgres_server: TestPostgres, databases: Databases
) -> None:
    with databases.one() as before:
        used = oid(before)
        run(before, "BEGIN; SELECT 1; PREPARE TRANSACTION 'left'; SELECT 1")
        try:
            assert not databases._is_plain(before)
        finally:
            run(before, "ROLLBACK PREPARED 'left'")
    with databases.one() as after:
        assert oid(after) == used
