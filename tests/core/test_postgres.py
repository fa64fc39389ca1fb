from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection, parse_dsn

from src.core.store import PASSING
from src.utils.postgres import Database, DatabaseClosedError, NoAnswerError, connection_params
from tests.core.helpers import connected, query, until
from tests.support.proxy import Proxy, postgres_proxy
from tests.support.servers import TestPostgres


@dataclass
class Silent:
    """A database behind a proxy that can fall silent."""

    proxy: Proxy
    params: dict[str, Any]


@pytest.fixture
def silent(corec_dsn: str) -> Iterator[Silent]:
    with postgres_proxy(corec_dsn) as (running, params):
        yield Silent(running, {**params, "connect_timeout": 2})


async def _ticks() -> list[float]:
    """The gaps between the loop's turns, in seconds, until cancelled."""
    gaps: list[float] = []
    last = time.monotonic()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            gaps.append(now - last)
            last = now
    return gaps


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


async def test_close_cuts_off_what_hangs(corec_dsn: str) -> None:
    database = Database(parse_dsn(corec_dsn), size=1)
    task = asyncio.create_task(database.run(lambda c: _value(c, "SELECT pg_sleep(14)")))
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(14)%%'"
    await until(lambda: query(corec_dsn, sleeping))
    started = time.monotonic()
    await database.close(0.1)
    with pytest.raises(psycopg2.OperationalError):
        await task
    assert time.monotonic() - started < 2
    assert database.open_connections == 0
    with pytest.raises(DatabaseClosedError):
        await database.run(lambda c: None)
    await database.close()


async def test_a_server_that_falls_silent_blocks_nothing(silent: Silent) -> None:
    database = Database(silent.params, size=1)
    await database.run(lambda c: _value(c, "SELECT 1"))
    silent.proxy.freeze()
    started = time.monotonic()
    ticks = asyncio.create_task(_ticks())
    with pytest.raises(NoAnswerError, match=r"no respondió en 0\.3 s"):
        await database.run(lambda c: _value(c, "SELECT 1"), seconds=0.3)
    hung = asyncio.create_task(database.run(lambda c: _value(c, "SELECT 1")))
    await asyncio.sleep(0.1)
    await database.close(0.1)
    with pytest.raises(psycopg2.Error):
        await asyncio.wait_for(hung, 10)  # it may be connecting, which takes up to 5 s
    assert time.monotonic() - started < 8
    ticks.cancel()
    assert max(await ticks) < 0.5  # the loop ran all the time


async def test_close_with_a_server_that_fell_silent_blocks_nothing(silent: Silent) -> None:
    database = Database(silent.params, size=1)
    await database.run(lambda c: _value(c, "SELECT 1"))
    silent.proxy.freeze()
    hung = asyncio.create_task(database.run(lambda c: _value(c, "SELECT 1")))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await database.close(0.1)
    with pytest.raises(psycopg2.OperationalError):
        await asyncio.wait_for(hung, 5)
    assert time.monotonic() - started < 1
    assert database.open_connections == 0


async def test_the_time_for_an_answer_counts_the_wait_for_a_thread(
    database: Database, corec_dsn: str
) -> None:
    begun, go_on = threading.Barrier(3), threading.Event()

    def occupy(conn: connection) -> None:
        begun.wait(10)
        assert go_on.wait(10)

    busy = [asyncio.create_task(database.run(occupy)) for _ in range(2)]
    await asyncio.to_thread(begun.wait, 10)
    started = time.monotonic()
    with pytest.raises(NoAnswerError):
        await database.run(lambda c: _value(c, "INSERT INTO eventos (canal) VALUES ('x')"), 0.2)
    assert time.monotonic() - started < 1
    go_on.set()
    await asyncio.gather(*busy)
    await database.run(lambda c: _value(c, "SELECT 1"))
    assert query(corec_dsn, "SELECT * FROM eventos") == []  # given up means: not done later


async def test_what_is_given_up_in_hand_is_not_committed(
    database: Database, corec_dsn: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(conn: connection) -> None:
        _value(conn, "INSERT INTO eventos (canal) VALUES ('x')")
        begun.set()
        assert go_on.wait(10)

    task = asyncio.create_task(database.run(slow))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await until(lambda: database.open_connections == 0)
    assert query(corec_dsn, "SELECT * FROM eventos") == []


async def test_close_tells_who_waits_for_a_thread_that_it_is_closed(corec_dsn: str) -> None:
    database = Database(parse_dsn(corec_dsn), size=1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(conn: connection) -> None:
        _value(conn, "SELECT 1")
        begun.set()
        assert go_on.wait(10)

    first = asyncio.create_task(database.run(slow))
    await until(begun.is_set)
    queued = asyncio.create_task(database.run(lambda c: None))
    await asyncio.sleep(0)
    await database.close(0)
    with pytest.raises(DatabaseClosedError):  # no CancelledError: nobody cancelled it
        await queued
    go_on.set()
    with pytest.raises(psycopg2.Error):
        await first


async def test_a_server_that_became_a_standby_is_left_for_the_one_that_took_over(
    database: Database, corec_dsn: str
) -> None:
    insert = "INSERT INTO eventos (canal) VALUES ('x')"
    name = parse_dsn(corec_dsn)["dbname"]
    query(corec_dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction) as caught:
        await database.run(lambda c: _value(c, insert))
    assert isinstance(caught.value, PASSING)
    # Sessions that are open keep refusing, as those with a real standby do.
    with connected(corec_dsn) as conn:
        _value(conn, "SET default_transaction_read_only = off")
        _value(conn, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await database.run(lambda c: _value(c, insert))
    assert query(corec_dsn, "SELECT count(*) FROM eventos") == [(1,)]
