"""Rows of `eventos` by COPY in binary: half the work of a cursor, for which payloads are hex."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.model import RawEvent

SOURCE = "eventos"
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": 11 bytes of signature, 4
# of flags, the length of an extension; of each row the number of columns, and of each column its
# length (-1: NULL) and its bytes; at the end -1 columns.
_EXTENSION = 15
_HEADER = 19
_COLUMNS_AND_ID = struct.Struct(">hiq")
_LENGTH = struct.Struct(">i")
_TIME = struct.Struct(">id")
_SIZE = struct.Struct(">ii")
_COPY = """
COPY (SELECT id::int8, canal::text, timestamp::float8, instance_id::text, size::int4, payload
        FROM ({rows}) AS found ORDER BY id)
  TO STDOUT (FORMAT binary)
"""


class _Received(list[bytes]):
    """What psycopg2 takes for a file."""

    write = list.append


def copied(cursor: Cursor, statement: str, arguments: Mapping[str, Any]) -> bytes:
    """Returns what a statement finds, in its binary form.

    Its columns are id, canal, timestamp, instance_id, size and payload.
    """
    rows = cursor.mogrify(statement.rstrip(";"), arguments).decode()
    received = _Received()
    cursor.copy_expert(_COPY.replace("{rows}", rows), received)
    return b"".join(received)


def events_in(found: bytes, is_text: bool) -> list[RawEvent]:
    """Returns the events in what `copied` found; `is_text`: their payloads are no bytea."""
    words: dict[bytes, str] = {}  # few channels and instances, many rows

    def word(begin: int, length: int) -> str | None:
        if length < 0:
            return None
        text = found[begin : begin + length]
        return words.get(text) or words.setdefault(text, text.decode())

    events: list[RawEvent] = []
    at = _HEADER + _LENGTH.unpack_from(found, _EXTENSION)[0]
    columns_and_id, length_at = _COLUMNS_AND_ID.unpack_from, _LENGTH.unpack_from
    time_at, size_at, end = _TIME.unpack_from, _SIZE.unpack_from, len(found) - 2
    while at < end:
        _, _, event_id = columns_and_id(found, at)
        at += 14
        length = length_at(found, at)[0]
        at += 4
        channel = word(at, length)
        at += max(length, 0)
        length, timestamp = time_at(found, at)
        at += 12 if length > 0 else 4
        has_time = length > 0
        length = length_at(found, at)[0]
        at += 4
        instance = word(at, length)
        at += max(length, 0)
        _, size = size_at(found, at)
        at += 8
        length = length_at(found, at)[0]
        at += 4
        payload: bytes | str | None = None
        if length >= 0:
            payload = found[at : at + length]
            at += length
            if is_text:
                payload = payload.decode()
        events.append(
            RawEvent(
                SOURCE,
                event_id,
                channel or "",
                payload,
                timestamp if has_time else None,
                instance,
                size,
            )
        )
    return events
