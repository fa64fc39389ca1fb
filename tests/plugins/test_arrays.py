"""Array literals reach PostgreSQL as the values that they were made of."""

from __future__ import annotations

import math
from collections.abc import Iterator

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from src.plugins.alert_manager.utils.arrays import blobs, numbers, texts

# What a session hands to the server at all: psycopg2 refuses the rest before it is sent.
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LISTS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(name="cursor")
def open_cursor(alert_dsn: str) -> Iterator[Cursor]:
    connection = psycopg2.connect(alert_dsn)
    connection.set_client_encoding("UTF8")
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@LISTS
@given(values=st.lists(st.none() | STORABLE))
def test_texts(cursor: Cursor, values: list[str | None]) -> None:
    cursor.execute("SELECT %s::text[]", (texts(values),))
    assert cursor.fetchone() == (values,)


@pytest.mark.parametrize(
    "text", ["", "NULL", "null", '"', "\\", "{}", "a,b", " ", "\\x41", '\\"', "'", "\n", "%s"]
)
def test_texts_that_mean_something_in_a_literal(cursor: Cursor, text: str) -> None:
    cursor.execute("SELECT %(values)s::text[]", {"values": texts([text, None, text])})
    assert cursor.fetchone() == ([text, None, text],)


@LISTS
@given(values=st.lists(st.none() | st.floats()))
def test_floats(cursor: Cursor, values: list[float | None]) -> None:
    cursor.execute("SELECT %s::float8[]", (numbers(values),))
    (found,) = cursor.fetchone() or ([],)
    assert len(found) == len(values)
    for one, other in zip(found, values, strict=True):
        assert one == other or (math.isnan(one or 0) and math.isnan(other or 0))


@LISTS
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers(cursor: Cursor, values: list[int | None]) -> None:
    cursor.execute("SELECT %s::bigint[]", (numbers(values),))
    assert cursor.fetchone() == (values,)


def test_booleans(cursor: Cursor) -> None:
    cursor.execute("SELECT %s::bool[]", (numbers([True, False, None]),))
    assert cursor.fetchone() == ([True, False, None],)


@LISTS
@given(values=st.lists(st.binary(max_size=40)))
def test_blobs(cursor: Cursor, values: list[bytes]) -> None:
    cursor.execute("SELECT %s::bytea[]", (blobs(values),))
    (found,) = cursor.fetchone() or ([],)
    assert [bytes(one) for one in found] == values
