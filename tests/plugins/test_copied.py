"""Rows that come by COPY in binary, or by a prepared statement, are those that a cursor reads."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.plugins.alert_manager.utils.copied import FEW, copied, events_in, few
from src.plugins.alert_manager.utils.eventos_rows import is_text, with_payload
from tests.plugins.conftest import World, eventually

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
        assert repr(few(cursor, arguments, as_text)) == repr(found)
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
        assert few(cursor, ARGUMENTS, False) == [event]
    assert (event.event_id, event.channel, event.payload) == (event_id, "señales", b"x")
    assert (event.timestamp, event.instance_id, event.size) == (1.5, None, 1)


@pytest.mark.parametrize("count", [FEW - 1, FEW])
def test_more_than_a_few_are_left_to_copy(connection: Any, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO eventos (canal) SELECT 'x' FROM generate_series(1, %s)", [count]
        )
        found = few(cursor, ARGUMENTS, False)
    assert (found is None) == (count == FEW)
    assert found is None or len(found) == count


async def test_a_column_that_changes_its_type_while_it_is_read(world: World) -> None:
    loss = '{"plugin": "p", "symbol": "%s", "profit": -900}'
    async with world.running():
        world.write("trading_results", loss % "A")
        await eventually(lambda: len(world.alerts()) == 1)
        world.corec("ALTER TABLE eventos ALTER COLUMN datos TYPE text USING NULL")
        world.write("trading_results", loss % "B")
        await eventually(lambda: len(world.alerts()) == 2)
