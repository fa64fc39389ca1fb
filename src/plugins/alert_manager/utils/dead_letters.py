"""Dead letters' events as their sources still have them: a dead letter itself keeps no payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import redis
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.model import RawEvent
from ..domain.stream_position import EntryId
from ..letters import believable
from .copied import SOURCE, copied, events_in
from .eventos_rows import is_text, with_payload
from .streams import STREAM, stream_event


class PayloadGoneError(LookupError):
    """The source has the event no more, or never kept it; says why, in a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of `dead_letters`; `timestamp` is the event's time (epoch seconds)."""

    id: int
    source: str
    event_id: int | None
    channel: str
    timestamp: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Letter:
        """Returns a row, of which other columns are left out."""
        return cls(row["id"], row["source"], row["event_id"], row["channel"], row["timestamp"])

    @property
    def stream(self) -> str | None:
        """The stream that it came by, or None."""
        return self.source.removeprefix(STREAM) if self.source.startswith(STREAM) else None


def event_of_row(corec_db: Connection, letter: Letter, max_bytes: int) -> RawEvent:
    """Returns the event of a row of `eventos`.

    Raises:
        PayloadGoneError: the row is gone, or its id is another event's by now.
    """
    none = "{}"
    with corec_db.cursor() as cursor:
        as_text = is_text(cursor)
        arguments = {
            "ids": f"{{{letter.event_id}}}",
            "lo": none,
            "hi": none,
            "channels": [letter.channel],
            "max_bytes": max_bytes,
            "batch_bytes": max_bytes,
            "limit": 1,
        }
        rows = copied(cursor, with_payload("eventos_holes", as_text), arguments)
    found = next(iter(events_in(rows, as_text)), None)
    if found is None:
        raise PayloadGoneError(f"la fila {letter.event_id} ya no está en eventos")
    # A table that was emptied or restored hands its ids out again.
    same_time = found.timestamp == letter.timestamp or not believable(
        found.timestamp, letter.timestamp
    )
    if found.channel != letter.channel or not same_time:
        raise PayloadGoneError(f"la fila {letter.event_id} de eventos es ahora otro evento")
    return _as_judged(found, letter)


def event_of_entry(client: redis.Redis, letter: Letter, max_bytes: int) -> RawEvent:
    """Returns the event of a stream's entry.

    Raises:
        PayloadGoneError: the entry is gone.
        redis.RedisError: Redis does not answer.
    """
    if letter.stream is None or letter.event_id is None:
        raise PayloadGoneError("no se sabe qué entrada del stream era")
    entry_id = EntryId.unpack(letter.event_id)
    found: Any = client.xrange(letter.stream, str(entry_id), str(entry_id))
    if not found:
        raise PayloadGoneError(f"la entrada {entry_id} ya no está en el stream {letter.stream}")
    return _as_judged(stream_event(letter.stream, entry_id, found[0][1], max_bytes), letter)


def is_row(letter: Letter) -> bool:
    """Says whether it is about a row of `eventos`."""
    return letter.source == SOURCE and letter.event_id is not None


def _as_judged(event: RawEvent, letter: Letter) -> RawEvent:
    # By this time the alert is known as this event's, were it judged again.
    return msgspec.structs.replace(event, timestamp=letter.timestamp)
