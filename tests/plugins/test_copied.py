"""Rows that come by COPY in binary, or by a prepared statement, are those that a cursor reads."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.processors.sessions import Sessions
from src.plugins.alert_manager.utils.copied import FEW, UNASKED, copied, events_in, few
from src.plugins.alert_manager.utils.eventos_rows import is_text, with_payload
from tests.plugins.conftest import World, eventually, shipped

WATCHED = ["trading_results", "señales"]
ARGUMENTS = {
    "channels": WATCHED,
    "max_bytes": 30,
    "batch_bytes": 30,
    "limit": 1000,
    "only": None,
    "hi": 0,
}
words = st.none() | st.sampled_from(["", *WATCHED, "otro", "日本", "a\\b\t\n"])
times = st.none() | st.floats()
payloads = st.none() | st.binary(max_size=40)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def rows(of_payloads: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(words, of_payloads, times, words), max_size=6)


def check(connection: Any, given_rows: list[tuple[Any, ...]], batch_bytes: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE eventos")
        for row in given_rows:
            cursor.execute(
                "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
                " VALUES (%s, %s, %s, %s)",
                row,
            )
        as_text = is_text(cursor)
        statement = with_payload("eventos_rows", as_text)
        arguments = {**ARGUMENTS, "batch_bytes": batch_bytes}
        found = events_in(copied(cursor, statement, arguments), as_text)
        uncut = {**ARGUMENTS, "batch_bytes": 1000}
        whole = events_in(copied(cursor, statement, uncut), as_text)
        some, _ = few(cursor, uncut, as_text) or ([], None)
        assert repr(some) == repr(whole)
        cursor.execute(statement, arguments)
        expected = cursor.fetchall()
        cursor.execute("SELECT id, canal, datos, timestamp, instance_id FROM eventos ORDER BY id")
        written = cursor.fetchall()
    told = [(e.event_id, e.channel, e.timestamp, e.instance_id, e.size, e.payload) for e in found]
    assert len(told) == len(expected)
    # A limit of bytes cuts the end off, and nothing out of the middle: that would look like a hole.
    assert [one[0] for one in told] == [row[0] for row in written][: len(told)]
    for one, row in zip(told, expected, strict=True):
        plain = [bytes(value) if isinstance(value, memoryview) else value for value in row]
        plain[1] = plain[1] or ""
        assert repr(one) == repr(tuple(plain))  # a time may be no number


@pytest.fixture
def connection(world: World) -> Any:
    opened = psycopg2.connect(world.corec_dsn, client_encoding="UTF8")
    opened.autocommit = True
    yield opened
    opened.close()


many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@given(made=rows(payloads), batch_bytes=st.sampled_from([1, 20, 60, 10_000]))
def test_bytes(connection: Any, made: list[tuple[Any, ...]], batch_bytes: int) -> None:
    check(connection, made, batch_bytes)


@many
@given(made=rows(texts))
def test_text(connection: Any, made: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE eventos ALTER COLUMN datos TYPE text USING NULL")
    check(connection, made, 10_000)


def test_what_is_no_bigint_and_no_double_is_read_all_the_same(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE eventos ALTER COLUMN id TYPE int")
        cursor.execute("ALTER TABLE eventos ALTER COLUMN timestamp TYPE numeric")
        cursor.execute("ALTER TABLE eventos ALTER COLUMN canal TYPE varchar(50)")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO eventos (canal, datos, timestamp)"
            " VALUES ('señales', 'x', 1.5) RETURNING id"
        )
        [(event_id,)] = cursor.fetchall()
        [event] = events_in(copied(cursor, with_payload("eventos_rows", False), ARGUMENTS), False)
        assert few(cursor, ARGUMENTS, False) == ([event], None)  # before it there is none
        assert few(cursor, {**ARGUMENTS, "hi": event_id}, False) == ([], UNASKED)
        cursor.execute("INSERT INTO eventos (canal) VALUES ('señales')")
        _, mark = few(cursor, {**ARGUMENTS, "hi": event_id}, False) or ([], None)
        assert mark == 1.5
    assert (event.event_id, event.channel, event.payload) == (event_id, "señales", b"x")
    assert (event.timestamp, event.instance_id, event.size) == (1.5, None, 1)


@pytest.mark.parametrize(
    ("limit", "count", "size", "much"),
    [
        (1000, FEW - 1, 10, False),
        (1000, FEW, 10, True),
        (10, 9, 10, False),
        (10, 10, 10, True),
        (1000, 3, 60_000, True),
        (1000, 2, 60_000, False),
    ],
)
def test_much_is_left_to_copy(
    connection: Any, limit: int, count: int, size: int, much: bool
) -> None:
    arguments = {**ARGUMENTS, "max_bytes": 1 << 20, "batch_bytes": 1 << 24, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO eventos (canal, datos) SELECT 'trading_results', %s"
            " FROM generate_series(1, %s)",
            (b"x" * size, count),
        )
        found = few(cursor, arguments, False)
    assert (found is None) == much
    assert found is None or len(found[0]) == count


async def test_what_is_asked_at_every_look_is_planned_once(world: World) -> None:
    world.corec("INSERT INTO eventos (canal) SELECT 'x' FROM generate_series(1, 20000)")
    world.corec("ANALYZE eventos")
    sessions = Sessions.of(parse_dsn(world.corec_dsn), shipped().settings)

    def work(connection: Any) -> Any:
        with connection.cursor() as cursor:
            for _ in range(20):
                assert few(cursor, {**ARGUMENTS, "hi": 19_990}, False)
            cursor.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements")
            return cursor.fetchall()

    try:
        assert await sessions.reading.run(work) == [(20, 0)]
    finally:
        await sessions.reading.close()


async def test_a_column_that_changes_its_type_while_it_is_read(world: World) -> None:
    loss = '{"plugin": "p", "symbol": "%s", "profit": -900}'
    async with world.running():
        world.write("trading_results", loss % "A")
        await eventually(lambda: len(world.alerts()) == 1)
        world.corec("ALTER TABLE eventos ALTER COLUMN datos TYPE text USING NULL")
        world.write("trading_results", loss % "B")
        await eventually(lambda: len(world.alerts()) == 2)
