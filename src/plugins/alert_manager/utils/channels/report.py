"""The plugin's own report of each alert on `alert_data`: a row of `eventos`, and a Redis stream.

Two channels, not one: with Redis down the rows still go out at once, and the other way round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg2
import zstandard
from psycopg2.extensions import connection as Connection  # noqa: N812
from redis.exceptions import RedisError

from ...domain.delivery import Message, Outcome, Rejected, Retry, Sent
from ...domain.errors import NotNowError, RefusedError
from ..pg import PgSession
from ..queries import fetch_value, query
from .common import as_json

CHANNEL = "alert_data"
_STREAM_LENGTH = 10_000  # entries that the stream keeps, about
_TIMEOUT = 10.0  # seconds


def report(message: Message, instance: str) -> bytes:
    """Returns the JSON that other plugins read."""
    return msgspec.json.encode(
        {
            "tipo": "alerta",
            "plugin": "alert_manager",
            **as_json(message),
            "instance_id": instance,
        }
    )


class EventosReport:
    """Writes reports into `eventos`, one row an alert."""

    max_batch = 200

    def __init__(self, session: PgSession, instance: str) -> None:
        self._session = session
        self._instance = instance
        self._kind = "bytea"  # of `datos`, on the connection that was asked last
        self._asked = -1

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Inserts the reports of a batch in one statement."""
        try:
            await self._session.run(lambda c: self._insert(c, batch))
        except NotNowError as error:
            return Retry(str(error))
        except RefusedError as error:
            return Rejected(f"eventos rechazó el reporte: {error}")
        return Sent()

    async def close(self) -> None:
        """Does nothing: the session belongs to its maker."""

    def _insert(self, connection: Connection, batch: Sequence[Message]) -> None:
        reports = [report(message, self._instance) for message in batch]
        with connection.cursor() as cursor:
            if self._asked != self._session.generation:
                self._kind = fetch_value(cursor, "eventos_payload_type") or "bytea"
                self._asked = self._session.generation
            datos: list[Any] = [text.decode() for text in reports]
            if self._kind == "bytea":
                compress = zstandard.ZstdCompressor().compress
                datos = [psycopg2.Binary(compress(text)) for text in reports]
            arguments = {
                "canal": CHANNEL,
                "datos": datos,
                "timestamp": time.time(),
                "instance": self._instance,
            }
            cursor.execute(query("eventos_insert").replace("{type}", self._kind), arguments)


class StreamReport:
    """Adds reports to the Redis stream `alert_data`, one entry an alert."""

    max_batch = 200

    def __init__(self, redis: Any, instance: str) -> None:
        self._redis = redis
        self._instance = instance

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Adds the reports of a batch in one round trip."""
        if self._redis is None:
            return Retry("no hay conexión con Redis")
        try:
            # In a thread: a full batch of the largest events takes a second to compress.
            entries = await asyncio.to_thread(self._entries, batch)
            async with asyncio.timeout(_TIMEOUT), self._redis.pipeline(transaction=False) as pipe:
                for entry in entries:
                    pipe.xadd(CHANNEL, entry, maxlen=_STREAM_LENGTH, approximate=True)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            return Retry(f"Redis no responde: {type(error).__name__}")
        return Sent()

    async def close(self) -> None:
        """Does nothing: the client belongs to the host."""

    def _entries(self, batch: Sequence[Message]) -> list[dict[str, bytes]]:
        compress = zstandard.ZstdCompressor().compress
        return [{"data": compress(report(message, self._instance))} for message in batch]
