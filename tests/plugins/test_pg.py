"""One session: turns, limits, a server that falls silent, and what its faults come to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.errors import (
    AlreadyStoredError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
    RefusedError,
    TooSlowError,
)
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.pg_errors import EVENT_KEY
from tests.plugins.conftest import World
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres

TWICE = "INSERT INTO t VALUES (1), (1)"


def sql(text: str) -> Any:
    def work(connection: Connection) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None

    return work


@contextlib.asynccontextmanager
async def session(parameters: dict[str, Any]) -> AsyncIterator[PgSession]:
    opened = PgSession("prueba", parameters)
    try:
        yield opened
    finally:
        await opened.close()


async def test_waiting_for_a_turn_is_no_silence(world: World) -> None:
    async with session(parse_dsn(world.alert_dsn)) as pg:
        await pg.run(sql("SELECT 1"))
        calls = [pg.run(sql("SELECT pg_sleep(0.6)"), limit=1.0) for _ in range(3)]
        await asyncio.gather(*calls)
        assert pg.generation == 1


async def test_a_silent_server_is_cut_off_and_a_new_connection_opened(
    world: World,
) -> None:
    with postgres_proxy(world.alert_dsn) as (silent, through):
        async with session(through) as pg:
            await pg.run(sql("SELECT 1"))
            silent.freeze()
            with pytest.raises(DatabaseUnavailableError, match="sin respuesta"):
                await pg.run(sql("SELECT 2"), limit=0.5)
            silent.thaw()
            assert await pg.run(sql("SELECT 3")) == [(3,)]
            assert pg.generation == 2


async def test_a_call_whose_caller_went_is_waited_for_and_does_not_count(world: World) -> None:
    async with session(parse_dsn(world.alert_dsn)) as pg:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pg.run(sql("SELECT pg_sleep(0.8)"))
        assert await pg.run(sql("SELECT 4"), limit=1.5) == [(4,)]
        assert pg.generation == 1


async def test_closing_waits_for_no_server(world: World) -> None:
    with postgres_proxy(world.alert_dsn) as (silent, through):
        async with session(through) as pg:
            silent.freeze()
            hanging = asyncio.create_task(pg.run(sql("SELECT 1")))
            await asyncio.sleep(0.2)  # it is connecting, which nobody can cut short
            begun = time.monotonic()
            await pg.close()
            assert time.monotonic() - begun < 1.5
            with pytest.raises(DatabaseUnavailableError):
                await hanging
            with pytest.raises(DatabaseUnavailableError, match="cerrada"):
                await pg.run(sql("SELECT 1"))


async def test_a_refusal_ends_a_call_that_waits_since_before_all_was_well(world: World) -> None:
    """It is asked every half second whether alert_db answers, and mostly it does."""
    async with session(parse_dsn(world.alert_dsn)) as pg:
        waiting = asyncio.create_task(pg.run(sql("SELECT pg_sleep(5)")))
        await asyncio.sleep(0.2)
        pg.accept()
        started = time.monotonic()
        pg.refuse()
        with pytest.raises(DatabaseUnavailableError, match="no responde"):
            await waiting
        with pytest.raises(DatabaseUnavailableError, match="no responde"):
            await pg.run(sql("SELECT 1"))
        assert time.monotonic() - started < 1.0
        pg.accept()
        await pg.run(sql("SELECT 1"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT pg_sleep(5)", TooSlowError),
        ("SELECT * FROM no_such_table", DatabaseUnusableError),
        (f"CREATE TEMP TABLE t (a int CONSTRAINT {EVENT_KEY} UNIQUE); {TWICE}", AlreadyStoredError),
        (f"CREATE TEMP TABLE t (a int UNIQUE); {TWICE}", DatabaseUnusableError),
        ("SELECT 'x'::jsonb", RefusedError),
        ("SELECT 1 FROM", psycopg2.errors.SyntaxError),
        ("SELECT count(*) FROM pg_class FOR UPDATE", psycopg2.errors.FeatureNotSupported),
    ],
)
async def test_a_refused_statement_keeps_the_connection(
    world: World, statement: str, expected: type[Exception]
) -> None:
    parameters = {**parse_dsn(world.alert_dsn), "options": "-c statement_timeout=200"}
    async with session(parameters) as pg:
        with pytest.raises(expected):
            await pg.run(sql(statement))
        assert await pg.run(sql("SELECT 5")) == [(5,)]
        assert pg.generation == 1


async def test_a_server_that_ends_the_connection_is_unavailable(
    world: World, postgres_server: TestPostgres
) -> None:
    async with session(parse_dsn(world.alert_dsn)) as pg:
        (pid,) = (await pg.run(sql("SELECT pg_backend_pid()")))[0]
        name = urlsplit(world.alert_dsn).path.removeprefix("/")
        connection = psycopg2.connect(postgres_server.dsn(name))
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(DatabaseUnavailableError):
            await pg.run(sql("SELECT 1"))
        assert await pg.run(sql("SELECT 6")) == [(6,)]


async def test_a_statement_that_was_prepared_for_other_columns_needs_a_new_connection(
    world: World,
) -> None:
    """Else it would fail for ever."""
    world.alert("CREATE TABLE t (a int)")
    async with session(parse_dsn(world.alert_dsn)) as pg:
        await pg.run(sql("PREPARE p AS SELECT a FROM t"))
        world.alert("ALTER TABLE t ALTER COLUMN a TYPE text")
        with pytest.raises(DatabaseUnavailableError):
            await pg.run(sql("EXECUTE p"))
        assert await pg.run(sql("SELECT 7")) == [(7,)]
        assert pg.generation == 2
