"""corec_db, alert_db and Redis: do they answer, and may we do there what we have to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg2
import redis

from ...database_settings import LINK
from ...utils.schema import SCHEMA_VERSION
from ..data import ask
from .finding import Finding, fault, good, warning

_OLDEST_POSTGRES = 15
_OLDEST_REDIS = (6, 2)
_SHOWN = 5  # missing rights
_CLOCK = 5.0  # seconds that clocks may differ
_START = "¿está en marcha? ./scripts/start.sh; si es otro servidor, mira su dirección y su registro"
_CORE_SCHEMA = "psql -d corec_db -f configs/core/schema.sql, como su dueño"
_SCHEMA = "psql -d alert_db -f configs/plugins/alert_manager/schema.sql, como su dueño"
Row = Mapping[str, Any]


def check_corec_db(dsn: str | None) -> Iterator[Finding]:
    """Says whether events can be read, and reports be written."""
    if not dsn:
        yield fault("corec_db", "no se sabe dónde está", "arranca CoreC, o define COREC_DB_DSN")
        return
    yield from _checked("corec_db", {"dsn": dsn}, "doctor_corec", _judge_corec)


def check_alert_db(parameters: Mapping[str, Any]) -> Iterator[Finding]:
    """Says whether alerts can be stored."""
    yield from _checked("alert_db", parameters, "doctor_alert", _judge_alert)


def _checked(
    name: str,
    parameters: Mapping[str, Any],
    statement: str,
    judge: Callable[[str, Row], Iterator[Finding]],
) -> Iterator[Finding]:
    try:
        connection = psycopg2.connect(**{**parameters, **LINK})
    except psycopg2.Error as error:
        yield fault(name, f"no responde: {str(error).strip().splitlines()[0]}", _START)
        return
    try:
        (row,) = ask(connection, statement, {})
    except psycopg2.Error as error:
        yield fault(name, f"no se deja mirar: {str(error).strip().splitlines()[0]}", _START)
        return
    finally:
        connection.close()
    yield from _judge_server(name, row)
    yield from judge(name, row)


def _judge_server(name: str, row: Row) -> Iterator[Finding]:
    major = row["version"] // 10_000
    if major < _OLDEST_POSTGRES:
        said = f"PostgreSQL {major}; se espera {_OLDEST_POSTGRES} o más nuevo"
        yield fault(name, said, "actualiza el servidor (pg_upgrade, o una copia con pg_dump)")
    else:
        yield good(name, f"PostgreSQL {major} responde")
    if row["standby"]:
        yield fault(
            name, "es una réplica de solo lectura", "apunta a la principal en su dirección (DSN)"
        )
    ahead = abs(row["now"] - time.time())
    if ahead > _CLOCK:
        yield fault(
            f"reloj de {name}",
            f"difiere {ahead:.0f} s del de esta máquina",
            "pon los dos en hora: sudo timedatectl set-ntp true",
        )


def _judge_corec(name: str, row: Row) -> Iterator[Finding]:
    if not row["has_table"]:
        yield fault(name, "no tiene la tabla eventos", _CORE_SCHEMA)
        return
    wanted = {
        "leer eventos (SELECT)": row["may_read"],
        "publicar reportes (INSERT)": row["may_write"],
    }
    yield from _judge_rights(name, row["role"], wanted, "configs/core/roles.sql")
    if not row["has_trigger"]:
        yield warning(
            name,
            "falta el aviso que despierta al lector: un evento puede tardar segundos",
            _CORE_SCHEMA,
        )
    if row["cached"] not in (None, 1):
        yield warning(
            name,
            f"la secuencia de eventos reparte {row['cached']} ids de una vez: un evento puede "
            "tardar en verse",
            "ALTER SEQUENCE eventos_id_seq CACHE 1",
        )


def _judge_alert(name: str, row: Row) -> Iterator[Finding]:
    if row["schema"] is None:
        yield fault(name, "no tiene sus tablas", f"./scripts/start.sh las crea; o {_SCHEMA}")
        return
    if row["schema"] != SCHEMA_VERSION:
        yield fault(name, f"esquema {row['schema']}; se espera {SCHEMA_VERSION}", _SCHEMA)
    wanted = dict.fromkeys(row["missing"], False)
    yield from _judge_rights(name, row["role"], wanted, "configs/plugins/alert_manager/roles.sql")


def _judge_rights(
    name: str, role: str, wanted: Mapping[str, bool], roles: str
) -> Iterator[Finding]:
    missing = [what for what, may in wanted.items() if not may]
    if missing:
        more = f" ni {len(missing) - _SHOWN} cosas más" if len(missing) > _SHOWN else ""
        said = f"el rol {role} no puede {' ni '.join(missing[:_SHOWN])}{more}"
        yield fault(name, said, f"dale permiso (GRANT), como hace {roles}")


def check_redis(url: str | None) -> Finding:
    """Says whether the cache and the streams are there."""
    mend = "¿está en marcha? ./scripts/start.sh; sin Redis no se pierde nada, va más lento"
    if not url:
        return warning("Redis", "no se sabe dónde está: se va sin caché y sin streams", mend)
    try:
        client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        try:
            info: Any = client.info("server")
        finally:
            client.close()
    except (redis.RedisError, ValueError, OSError) as error:  # its text may quote the address
        return warning("Redis", f"no responde: {type(error).__name__}", mend)
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST_REDIS:
        return fault("Redis", f"{version}; se espera 6.2 o más nuevo", "actualiza el servidor")
    return good("Redis", f"{version} responde")
