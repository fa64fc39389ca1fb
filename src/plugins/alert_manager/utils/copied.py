"""Rows of `eventos`, many or few.

Many by COPY in binary: half the work of a cursor, for which payloads are hex. A few by a prepared
statement: COPY is planned anew each time, which takes longer than reading one row.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.model import RawEvent
from .eventos_rows import with_payload
from .queries import execute_prepared

SOURCE = "eventos"
FEW = 50  # rows
UNASKED = object()
_FEW_BYTES = 1 << 18
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": 11 bytes of signature, 4
# of flags, the length of an extension; of each row the number of columns, and of each column its
# length (-1: NULL) and its bytes; two bytes end it.
_EXTENSION = 15
_HEADER = 19
_LENGTH = struct.Struct(">i")
# What record_send makes of a row: the number of columns, and of each its type, its length (-1:
# NULL) and its bytes. So: id, size, the length of time (it is there, or not) and time, and the
# length of canal.
_TIMED = struct.Struct(">12xq8xi4xid4xi")
_TIMELESS = struct.Struct(">12xq8xi4xi4xi")
_TYPED_LENGTH = struct.Struct(">4xi")
# Whatever the types of these columns in somebody's installation are.
_PLAIN = """
SELECT id::int8, size::int4, timestamp::float8, canal::text, instance_id::text, payload
  FROM ({rows}) AS found ORDER BY id
"""
_MARKED = """
SELECT plain.*, (SELECT timestamp::float8 FROM eventos WHERE id = %(hi)s) AS mark
  FROM ({plain}) AS plain ORDER BY id
""".replace("{plain}", _PLAIN)
# All in one row: psycopg2 takes the GIL for each, and whoever judges meanwhile would have to wait
# as often. It costs the server a third more. In the order of the sorted subquery, says
# https://www.postgresql.org/docs/current/functions-aggregate.html; to sort here would take files.
_COPY = """
COPY (SELECT string_agg(record_send(plain), '') FROM ({plain}) AS plain)
  TO STDOUT (FORMAT binary)
""".replace("{plain}", _PLAIN)


def few(
    cursor: Cursor, arguments: Mapping[str, Any], is_text: bool
) -> tuple[list[RawEvent], Any] | None:
    """Returns what `eventos_rows` finds, and the mark; None where it is much: COPY is quicker then.

    The mark is the time of the row that they come after, `UNASKED` where they are none. `is_text`:
    payloads are no bytea.
    """
    limit = min(FEW, arguments["limit"])
    most = min(_FEW_BYTES, arguments["batch_bytes"])
    statement = _MARKED.replace("{rows}", with_payload("eventos_rows", is_text).rstrip(";"))
    few_of_them = {**arguments, "limit": limit, "batch_bytes": most}
    execute_prepared(cursor, "eventos_rows", few_of_them, statement)
    rows = cursor.fetchall()
    if len(rows) >= limit or sum(row[1] for row in rows if row[-2] is not None) > most // 2:
        return None
    events = [
        RawEvent(SOURCE, event_id, channel or "", _own(payload), timestamp, instance, size)
        for event_id, size, timestamp, channel, instance, payload, _ in rows
    ]
    return events, rows[0][-1] if rows else UNASKED


def _own(payload: memoryview | str | None) -> bytes | str | None:
    return payload.tobytes() if isinstance(payload, memoryview) else payload


class _Received(list[bytes]):
    """What psycopg2 takes for a file."""

    write = list.append


def copied(cursor: Cursor, statement: str, arguments: Mapping[str, Any]) -> bytes:
    """Returns what a statement finds, in its binary form: one value of all rows, for `events_in`.

    Its columns are id, canal, timestamp, instance_id, size and payload; it has its own order.
    """
    rows = cursor.mogrify(statement.rstrip(";"), arguments).decode()
    received = _Received()
    cursor.copy_expert(_COPY.replace("{rows}", rows), received)
    return b"".join(received)


def events_in(found: bytes, is_text: bool) -> list[RawEvent]:
    """Returns the events in what `copied` found; `is_text`: their payloads are no bytea."""
    words: dict[bytes, str] = {}  # few channels and instances, many rows
    events: list[RawEvent] = []
    timed_at, length_at = _TIMED.unpack_from, _TYPED_LENGTH.unpack_from
    at = _HEADER + _LENGTH.unpack_from(found, _EXTENSION)[0] + 6  # and the length of the one column
    end = at + _LENGTH.unpack_from(found, at - 4)[0]
    # Of the row before: nearly always this one goes on as it does.
    channel, instance, same, same_length = "", None, b"", None
    while at < end:
        # Without a time this reads on into what follows, which is long enough in any case.
        event_id, size, has_time, timestamp, length = timed_at(found, at)
        at += _TIMED.size
        if has_time < 0:
            at += _TIMELESS.size - _TIMED.size
            *_, length = _TIMELESS.unpack_from(found, at - _TIMELESS.size)
        if length != same_length or not found.startswith(same, at):
            channel, instance, after = _names(found, at, length, words)
            same, same_length = found[at:after], length
        at += len(same)
        (length,) = length_at(found, at)
        at += _TYPED_LENGTH.size
        payload = None if length < 0 else found[at : at + length]
        at += max(0, length)
        events.append(
            RawEvent(
                SOURCE,
                event_id,
                channel,
                payload.decode() if is_text and payload is not None else payload,
                None if has_time < 0 else timestamp,
                instance,
                size,
            )
        )
    return events


def _names(
    found: bytes, at: int, length: int, words: dict[bytes, str]
) -> tuple[str, str | None, int]:
    """Returns a row's channel, which is so long, its instance, and where they end."""

    def word(text: bytes) -> str:
        return words.get(text) or words.setdefault(text, text.decode())

    channel = word(found[at : at + length]) if length > 0 else ""
    at += max(0, length)
    (length,) = _TYPED_LENGTH.unpack_from(found, at)
    at += _TYPED_LENGTH.size
    instance = None if length < 0 else word(found[at : at + length])
    return channel, instance, at + max(0, length)
