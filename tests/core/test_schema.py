from __future__ import annotations

import asyncio

import psycopg2
import pytest

from src.core.store import SCHEMA_FILE, CorecStore
from src.utils.postgres import Database
from tests.core.helpers import connected, query, until
from tests.support.servers import TestPostgres

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length
      FROM information_schema.columns WHERE table_schema = 'public'
     ORDER BY table_name, ordinal_position
"""
INDEXED = """
    SELECT a.attname FROM pg_index i
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = 'eventos'::regclass ORDER BY 1
"""
TRIGGER = "SELECT oid FROM pg_trigger WHERE tgname = 'corec_avisar_eventos'"
INSERT = "INSERT INTO eventos (canal) SELECT 'a' FROM generate_series(1, 3)"
SLEEP_LOCK = "(1668248165, 1)"


def test_tables_are_the_contracts(corec_dsn: str) -> None:
    varchar, double = "character varying", "double precision"
    assert query(corec_dsn, COLUMNS) == [
        ("auditoria", "evento_id", varchar, 50),
        ("auditoria", "tipo", varchar, 50),
        ("auditoria", "detalle", "text", None),
        ("auditoria", "timestamp", double, None),
        ("auditoria", "instance_id", varchar, 50),
        ("eventos", "id", "integer", None),
        ("eventos", "canal", varchar, 50),
        ("eventos", "datos", "bytea", None),
        ("eventos", "timestamp", double, None),
        ("eventos", "instance_id", varchar, 50),
        ("nodos", "nodo_id", varchar, 50),
        ("nodos", "instance_id", varchar, 50),
        ("nodos", "ultima_actividad", double, None),
        ("nodos", "carga", double, None),
        ("nodos", "es_espejo", "boolean", None),
        ("nodos", "original_id", varchar, 50),
    ]
    assert query(corec_dsn, INDEXED) == [("canal",), ("id",), ("timestamp",)]


def test_again_changes_nothing_and_waits_for_no_writer(
    corec_dsn: str, postgres_server: TestPostgres
) -> None:
    before = query(corec_dsn, TRIGGER)
    with connected(corec_dsn) as writer, writer.cursor() as cursor:
        writer.autocommit = False
        cursor.execute(INSERT)  # holds RowExclusive: a lock on the table would wait, and time out
        postgres_server.apply(corec_dsn, SCHEMA_FILE)
        postgres_server.apply(corec_dsn, SCHEMA_FILE)
    assert query(corec_dsn, TRIGGER) == before
    assert len(before) == 1


@pytest.mark.parametrize("kind", ["text", "jsonb"])
def test_an_older_installation_keeps_its_column(
    alert_dsn: str, postgres_server: TestPostgres, kind: str
) -> None:
    query(
        alert_dsn,
        f"""CREATE TABLE eventos (id serial PRIMARY KEY, canal varchar(50), datos {kind},
            timestamp double precision, instance_id varchar(50))""",
    )
    postgres_server.apply(alert_dsn, SCHEMA_FILE)
    found = query(
        alert_dsn,
        "SELECT atttypid::regtype::text FROM pg_attribute"
        " WHERE attrelid = 'eventos'::regclass AND attname = 'datos'",
    )
    assert found == [(kind,)]
    assert query(alert_dsn, INDEXED) == [("canal",), ("id",), ("timestamp",)]
    assert query(alert_dsn, TRIGGER)


def test_a_wrong_trigger_of_that_name_is_replaced(
    corec_dsn: str, postgres_server: TestPostgres
) -> None:
    query(corec_dsn, "DROP TRIGGER corec_avisar_eventos ON eventos")
    query(
        corec_dsn,
        "CREATE TRIGGER corec_avisar_eventos AFTER INSERT ON eventos"
        " FOR EACH ROW EXECUTE FUNCTION corec_avisar_eventos()",
    )
    postgres_server.apply(corec_dsn, SCHEMA_FILE)
    found = query(corec_dsn, "SELECT tgtype FROM pg_trigger WHERE tgname = 'corec_avisar_eventos'")
    assert found == [(4,)]


def test_a_role_that_owns_nothing_gets_no_error(
    corec_dsn: str, postgres_server: TestPostgres
) -> None:
    postgres_server.create_role("ajeno")
    database = psycopg2.extensions.parse_dsn(corec_dsn)["dbname"]
    postgres_server.apply(postgres_server.dsn(database, "ajeno"), SCHEMA_FILE)
    assert len(query(corec_dsn, TRIGGER)) == 1


def test_a_trigger_notifies_only_while_a_reader_sleeps(corec_dsn: str) -> None:
    with connected(corec_dsn) as reader, reader.cursor() as cursor:
        cursor.execute("LISTEN corec_eventos")
        query(corec_dsn, INSERT)
        cursor.execute("SELECT 1")
        reader.poll()
        assert reader.notifies == []

        cursor.execute(f"SELECT pg_advisory_lock{SLEEP_LOCK}")
        query(corec_dsn, INSERT)
        cursor.execute("SELECT 1")
        reader.poll()
        assert [(n.channel, n.payload) for n in reader.notifies] == [("corec_eventos", "")]

        cursor.execute(f"SELECT pg_advisory_unlock{SLEEP_LOCK}")
        reader.notifies.clear()
        query(corec_dsn, INSERT)
        cursor.execute("SELECT 1")
        reader.poll()
        assert reader.notifies == []


def test_nobody_falls_asleep_over_a_write_that_stayed_silent(corec_dsn: str) -> None:
    with connected(corec_dsn) as reader, connected(corec_dsn) as writer:
        writer.autocommit = False
        with writer.cursor() as cursor:
            cursor.execute(INSERT)
        with reader.cursor() as cursor:
            cursor.execute(f"SELECT pg_try_advisory_lock{SLEEP_LOCK}")
            assert cursor.fetchone() == (False,)
        writer.commit()
        with reader.cursor() as cursor:
            cursor.execute(f"SELECT pg_try_advisory_lock{SLEEP_LOCK}")
            assert cursor.fetchone() == (True,)


async def test_two_hosts_that_start_together_take_turns(alert_dsn: str) -> None:
    database = Database(psycopg2.extensions.parse_dsn(alert_dsn))
    try:
        with connected(alert_dsn) as first, first.cursor() as cursor:
            first.autocommit = False
            cursor.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
            second = asyncio.create_task(CorecStore(database).ensure_schema())
            await until(lambda: query(alert_dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"))
            first.commit()
        assert await second == ("eventos", "nodos", "auditoria")
    finally:
        await database.close()


async def test_the_store_makes_what_is_missing(alert_dsn: str) -> None:
    database = Database(psycopg2.extensions.parse_dsn(alert_dsn))
    try:
        store = CorecStore(database)
        assert await store.ensure_schema() == ("eventos", "nodos", "auditoria")
        assert await store.ensure_schema() == ()
        query(alert_dsn, "DROP TABLE nodos")
        assert await store.ensure_schema() == ("nodos",)
    finally:
        await database.close()
