from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection, parse_dsn

from src.utils.postgres import Database, DatabaseClosedError, connection_params
from tests.core.helpers import query, until
from tests.support.servers import TestPostgres


def _value(conn: connection, sql: str) -> Any:
    with conn.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()[0][0] if cursor.description else None


def test_the_users_own_options_win() -> None:
    params = connection_params(
        {"host": "h", "connect_timeout": 9, "options": "-c statement_timeout=1"},
        application_name="corec:x",
    )
    assert params["connect_timeout"] == 9
    assert params["options"] == "-c statement_timeout=15000 -c statement_timeout=1"
    assert params["keepalives"] == 1
    assert params["tcp_user_timeout"] == 15_000


async def test_limits_reach_the_server(database: Database) -> None:
    assert await database.run(lambda c: _value(c, "SHOW statement_timeout")) == "15s"
    assert await database.run(lambda c: _value(c, "SHOW application_name")) == "corec"


async def test_commit_on_return_rollback_on_fault(database: Database, corec_dsn: str) -> None:
    await database.run(lambda c: _value(c, "INSERT INTO eventos (canal) VALUES ('si')"))

    def breaks(conn: connection) -> None:
        _value(conn, "INSERT INTO eventos (canal) VALUES ('no')")
        raise KeyError("k")

    with pytest.raises(KeyError):
        await database.run(breaks)
    assert query(corec_dsn, "SELECT canal FROM eventos") == [("si",)]
    assert database.open_connections == 1


async def test_work_is_off_the_loop_and_bounded(database: Database) -> None:
    threads: set[str] = set()

    def work(conn: connection) -> None:
        threads.add(threading.current_thread().name)
        _value(conn, "SELECT pg_sleep(0.02)")

    await asyncio.gather(*(database.run(work) for _ in range(12)))
    assert threading.current_thread().name not in threads
    assert len(threads) <= 2
    assert database.open_connections <= 2


async def test_survives_a_restart_of_the_server(
    database: Database, postgres_server: TestPostgres
) -> None:
    before = await database.run(lambda c: c.info.backend_pid)
    postgres_server.stop("fast")
    try:
        with pytest.raises(psycopg2.OperationalError):
            await database.run(lambda c: _value(c, "SELECT 1"))
        assert database.open_connections == 0
    finally:
        postgres_server.start()
    assert await database.run(lambda c: c.info.backend_pid) != before


async def test_a_connection_that_died_while_idle_is_replaced_unnoticed(
    database: Database, postgres_server: TestPostgres
) -> None:
    await database.run(lambda c: _value(c, "SELECT 1"))
    await asyncio.to_thread(postgres_server.stop, "fast")
    await asyncio.to_thread(postgres_server.start)
    assert await database.run(lambda c: _value(c, "SELECT 1")) == 1
    assert database.open_connections == 1


async def test_a_connection_that_breaks_in_use_is_given_back(
    database: Database, corec_dsn: str
) -> None:
    def killed(conn: connection) -> None:
        query(corec_dsn, "SELECT pg_terminate_backend(%s)", conn.info.backend_pid)
        _value(conn, "SELECT 1")

    for _ in range(5):  # more often than there are connections
        with pytest.raises((psycopg2.OperationalError, psycopg2.InterfaceError)):
            await database.run(killed)
    assert database.open_connections == 0
    assert await database.run(lambda c: _value(c, "SELECT 1")) == 1


async def test_a_cancelled_caller_leaves_no_connection_behind(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(conn: connection) -> None:
        _value(conn, "SELECT 1")
        begun.set()
        assert go_on.wait(10)

    task = asyncio.create_task(database.run(slow))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    pids = {await database.run(lambda c: c.info.backend_pid) for _ in range(3)}
    assert len(pids) == 1


async def test_close_cancels_what_hangs(corec_dsn: str) -> None:
    database = Database(parse_dsn(corec_dsn), size=1)
    task = asyncio.create_task(database.run(lambda c: _value(c, "SELECT pg_sleep(14)")))
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(14)%%'"
    await until(lambda: query(corec_dsn, sleeping))
    started = time.monotonic()
    await database.close(0.1)
    with pytest.raises(psycopg2.errors.QueryCanceled):
        await task
    assert time.monotonic() - started < 5
    assert database.open_connections == 0
    with pytest.raises(DatabaseClosedError):
        await database.run(lambda c: None)
    await database.close()
