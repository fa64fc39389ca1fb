"""Everything the host says to corec_db. Each function is one transaction, run in a thread."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection

from src.utils.config import PROJECT_ROOT
from src.utils.payload import encode_frame, mask
from src.utils.postgres import UNREACHABLE, Database

SCHEMA_FILE = PROJECT_ROOT / "configs" / "core" / "schema.sql"

# Faults that time mends: the server is away, or its tables are about to be made.
PASSING: tuple[type[Exception], ...] = (*UNREACHABLE, psycopg2.errors.UndefinedTable)

_Arguments = tuple[Any, ...] | dict[str, Any]
_MAX_DETAIL = 2000
_TABLES_MISSING = """
    SELECT array_remove(ARRAY[
        CASE WHEN to_regclass('eventos') IS NULL THEN 'eventos' END,
        CASE WHEN to_regclass('nodos') IS NULL THEN 'nodos' END,
        CASE WHEN to_regclass('auditoria') IS NULL THEN 'auditoria' END], NULL)
"""
_DATOS_TYPE = """
    SELECT atttypid::regtype::text FROM pg_attribute
     WHERE attrelid = to_regclass('eventos') AND attname = 'datos'
"""
_INSERT_EVENT = """
    INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES (%s, %s, %s, %s)
    RETURNING id
"""
# A try whose answer was lost may have been stored: its very time tells.
_INSERT_EVENT_ONCE = """
    INSERT INTO eventos (canal, datos, timestamp, instance_id)
    SELECT %(canal)s, %(datos)s, %(timestamp)s, %(instance_id)s
     WHERE NOT EXISTS (SELECT FROM eventos WHERE timestamp = %(timestamp)s AND canal = %(canal)s
                          AND instance_id = %(instance_id)s)
"""
_NEWEST_EVENT = """
    SELECT id, canal, datos, timestamp, instance_id FROM eventos
     WHERE canal = %s AND id > %s AND id <> ALL (%s)
     ORDER BY id DESC LIMIT 1
"""
_INSERT_AUDIT = """
    INSERT INTO auditoria (evento_id, tipo, detalle, timestamp, instance_id)
    VALUES (%s, %s, %s, extract(epoch FROM clock_timestamp()), %s)
"""
# Where an entity left off: `eventos` has no column for who wrote a row, and the payload is not ours
# to add to. One row an entity, written with each publication in the same transaction.
_MARK_TYPE = "ultima_publicacion"
_MARK_PUBLISHED = """
    INSERT INTO auditoria (evento_id, tipo, detalle, timestamp, instance_id)
    VALUES (%s, %s, %s, extract(epoch FROM clock_timestamp()), %s)
    ON CONFLICT (evento_id) DO UPDATE
       SET detalle = EXCLUDED.detalle, timestamp = EXCLUDED.timestamp
"""
# Only while that row is there: ids begin anew in an `eventos` that was emptied.
_LAST_PUBLISHED = """
    SELECT e.id FROM auditoria a JOIN eventos e ON e.id = a.detalle::bigint
     WHERE a.evento_id = %s AND a.tipo = %s AND e.canal = %s
"""
# The database's clock, so that instances with different clocks don't drop each other's nodes.
_UPSERT_NODE = """
    INSERT INTO nodos (nodo_id, instance_id, ultima_actividad, carga, es_espejo, original_id)
    VALUES (%s, %s, extract(epoch FROM clock_timestamp()), %s, %s, %s)
    ON CONFLICT (nodo_id, instance_id) DO UPDATE
       SET ultima_actividad = EXCLUDED.ultima_actividad, carga = EXCLUDED.carga,
           es_espejo = EXCLUDED.es_espejo, original_id = EXCLUDED.original_id
    RETURNING ultima_actividad
"""
_LAST_BEAT = "SELECT max(ultima_actividad) FROM nodos WHERE instance_id = %s"
_DROP_SILENT = """
    DELETE FROM nodos WHERE ultima_actividad < extract(epoch FROM clock_timestamp()) - %s
    RETURNING nodo_id, instance_id
"""
# Other programs name their errors freely: error, error_procesador, db_connection_error, …
_COUNT_ERRORS = """
    SELECT count(*) FROM auditoria
     WHERE tipo ILIKE '%%error%%'
       AND timestamp >= extract(epoch FROM clock_timestamp()) - %s
"""


@dataclass(frozen=True)
class Heartbeat:
    """One row of `nodos`; `carga` is the share of its interval that the entity works, 0 to 1."""

    nodo_id: str
    carga: float
    es_espejo: bool
    original_id: str | None


class Written(NamedTuple):
    """The newest heartbeat of an instance before one was written, and that one (epoch seconds)."""

    before: float | None
    now: float | None


class CorecStore:
    """The tables of corec_db, for coroutines.

    Every method raises psycopg2.Error: one of `PASSING` when a later try may succeed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_schema(self, schema_file: Path = SCHEMA_FILE) -> tuple[str, ...]:
        """Make the tables that are missing; returns their names.

        Raises:
            psycopg2.errors.InsufficientPrivilege: the role may not.
        """
        schema = schema_file.read_text(encoding="utf-8")  # noqa: ASYNC240 - local, once, tiny
        return await self._database.run(lambda conn: _ensure_schema(conn, schema))

    async def insert_event(self, canal: str, text: str, instance_id: str, timestamp: float) -> None:
        """Write one row, whose payload is a JSON text, into `eventos`.

        Safe to call again with the same `timestamp` (seconds since the epoch): there is one row.
        """
        frame = encode_frame(text)

        def write(conn: connection) -> None:
            arguments = {
                "canal": canal,
                "datos": _datos(conn, text, frame),
                "timestamp": timestamp,
                "instance_id": instance_id,
            }
            _execute(conn, _INSERT_EVENT_ONCE, arguments)

        await self._database.run(write)

    async def publish(
        self,
        nodo_id: str,
        canal: str,
        text: str,
        instance_id: str,
        note: Callable[[int], None],
    ) -> None:
        """Write an entity's JSON text into `eventos`, and that it is the entity's newest.

        Args:
            nodo_id: the entity.
            canal: the channel.
            text: the payload.
            instance_id: the entity's instance.
            note: called, in a thread, with the row's id before anybody can see the row.
        """
        frame = encode_frame(text)

        def write(conn: connection) -> None:
            row_id = _insert_event(conn, canal, text, frame, instance_id)
            mark = (_mark_id(nodo_id, canal, instance_id), _MARK_TYPE, str(row_id), instance_id)
            _execute(conn, _MARK_PUBLISHED, mark)
            note(row_id)

        await self._database.run(write)

    async def last_published(self, nodo_id: str, canal: str, instance_id: str) -> int:
        """Find the id of an entity's newest publication, in this run or an earlier one; or 0."""
        key = (_mark_id(nodo_id, canal, instance_id), _MARK_TYPE, canal)
        rows = await self._database.run(lambda conn: _fetch(conn, _LAST_PUBLISHED, key))
        return int(rows[0][0]) if rows else 0

    async def newest_event(
        self, canal: str, after: int, own_ids: Sequence[int]
    ) -> dict[str, Any] | None:
        """Read the newest row of a channel behind `after` that is none of `own_ids`."""
        ids = list(own_ids)
        return await self._database.run(lambda conn: _newest_event(conn, canal, after, ids))

    async def record_error(self, tipo: str, detail: str, instance_id: str) -> None:
        """Count one error into `auditoria`."""
        row = (uuid.uuid4().hex, tipo, mask(detail)[:_MAX_DETAIL], instance_id)
        await self._database.run(lambda conn: _execute(conn, _INSERT_AUDIT, row))

    async def heartbeat(self, instance_id: str, beats: Sequence[Heartbeat]) -> Written:
        """Write that these entities are alive; returns when, by the database's clock."""
        return await self._database.run(lambda conn: _heartbeat(conn, instance_id, beats))

    async def drop_silent(self, seconds: float) -> list[tuple[str, str]]:
        """Delete the nodes, of any instance, that said nothing for so long; returns their keys."""
        return await self._database.run(lambda conn: _fetch(conn, _DROP_SILENT, (seconds,)))

    async def count_errors(self, seconds: float) -> int:
        """Count the error rows of `auditoria` of the last so many seconds."""
        rows = await self._database.run(lambda conn: _fetch(conn, _COUNT_ERRORS, (seconds,)))
        return int(rows[0][0])


def _mark_id(nodo_id: str, canal: str, instance_id: str) -> str:
    # The three together are longer than the column.
    key = f"{nodo_id}\0{canal}\0{instance_id}"
    return f"publicado:{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _execute(conn: connection, sql: str, args: _Arguments | None = None) -> None:
    with conn.cursor() as cursor:
        cursor.execute(sql, args)


def _fetch(conn: connection, sql: str, args: tuple[Any, ...] | None = None) -> list[Any]:
    with conn.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchall()


def _ensure_schema(conn: connection, schema: str) -> tuple[str, ...]:
    missing = tuple(_fetch(conn, _TABLES_MISSING)[0][0])
    if missing:
        _execute(conn, schema)
    return missing


def _datos(conn: connection, text: str, frame: bytes) -> Any:
    """A payload as the column of today takes it."""
    # Asked every time, in the same transaction: PostgreSQL would store the bytes in a text column
    # as '\x28b5…' without a complaint, and a migration may change the type while we run.
    found = _fetch(conn, _DATOS_TYPE)
    kind = found[0][0] if found else "bytea"
    return psycopg2.Binary(frame) if kind == "bytea" else text


def _insert_event(conn: connection, canal: str, text: str, frame: bytes, instance_id: str) -> int:
    row = (canal, _datos(conn, text, frame), time.time(), instance_id)
    return int(_fetch(conn, _INSERT_EVENT, row)[0][0])


def _newest_event(
    conn: connection, canal: str, after: int, own_ids: list[int]
) -> dict[str, Any] | None:
    rows = _fetch(conn, _NEWEST_EVENT, (canal, after, own_ids))
    if not rows:
        return None
    row_id, row_canal, datos, timestamp, instance_id = rows[0]
    return {
        "id": row_id,
        "canal": row_canal,
        "datos": bytes(datos) if isinstance(datos, memoryview) else datos,
        "timestamp": timestamp,
        "instance_id": instance_id,
    }


def _heartbeat(conn: connection, instance_id: str, beats: Sequence[Heartbeat]) -> Written:
    before = _fetch(conn, _LAST_BEAT, (instance_id,))[0][0]
    now: float | None = None
    # In one order everywhere, so that two writers can't lock each other's rows crosswise.
    for beat in sorted(beats, key=lambda b: b.nodo_id):
        row = (beat.nodo_id, instance_id, beat.carga, beat.es_espejo, beat.original_id)
        now = _fetch(conn, _UPSERT_NODE, row)[0][0]
    return Written(before, now)
