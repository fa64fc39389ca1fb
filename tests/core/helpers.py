"""What the host's tests share."""

from __future__ import annotations

import asyncio
import json
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import yaml
import zstandard
from psycopg2.extensions import connection

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from src.core.processors.base import ProcesadorBase

DEADLINE_SECONDS = 15.0
ERRORS = "SELECT tipo, detalle, instance_id FROM auditoria"
ALERT = {"tipo": "api_error", "plugin": "exchange_sync", "message": "Se cayó ñandú", "n": 1.5}

MakeNucleus = Callable[..., CoreCNucleus]
Make = Callable[..., CeluEntidadCoreC]


async def until(condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Wait until a condition is truthy; returns what it gave, fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return result


@contextmanager
def connected(dsn: str) -> Iterator[connection]:
    """An autocommit connection that is closed at the end."""
    conn = psycopg2.connect(dsn)
    conn.autocommit = True
    try:
        yield conn
    finally:
        conn.close()


def query(dsn: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; its rows, if it has any."""
    with connected(dsn) as conn, conn.cursor() as cursor:
        cursor.execute(sql, args or None)
        return cursor.fetchall() if cursor.description else []


def published(dsn: str, canal: str) -> list[dict[str, Any]]:
    """The payloads of a channel in `eventos`, decoded."""
    rows = query(dsn, "SELECT datos FROM eventos WHERE canal = %s ORDER BY id", canal)
    return [decoded(datos) for (datos,) in rows]


def decoded(datos: Any) -> dict[str, Any]:
    """Decode what the host wrote, by the column's type: bytea, text or jsonb."""
    if isinstance(datos, dict):
        return datos
    if isinstance(datos, memoryview | bytes):
        datos = zstandard.ZstdDecompressor().decompress(bytes(datos))
    result = json.loads(datos)
    assert isinstance(result, dict)
    return result


class PluginFolder:
    """A plugins folder under a name that no other test has, importable by the PluginManager."""

    def __init__(self, parent: Path) -> None:
        self.path = parent / f"plugins_{uuid.uuid4().hex}"
        self.path.mkdir()

    def add(
        self, name: str, code: str, *, config: str | None = None, **manifest: Any
    ) -> dict[str, Any]:
        """Write a plugin whose main class is `code.Plugin`; returns its plugin.json."""
        folder = self.path / name
        folder.mkdir()
        (folder / "code.py").write_text(textwrap.dedent(code), encoding="utf-8")
        content: dict[str, Any] = {
            "name": name,
            "version": "1.0",
            "description": "para pruebas",
            "type": "test",
            "channels": [],
            "dependencies": [],
            "config_file": None,
            "main_class": f"{name}.code.Plugin",
            "critical": False,
            **manifest,
        }
        if config is not None:
            (folder / "config.yaml").write_text(config, encoding="utf-8")
            content["config_file"] = str(folder / "config.yaml")
        (folder / "plugin.json").write_text(json.dumps(content), encoding="utf-8")
        return content

    def add_raw(self, name: str, plugin_json: str) -> None:
        """Write a plugin.json with exactly this text."""
        (self.path / name).mkdir()
        (self.path / name / "plugin.json").write_text(plugin_json, encoding="utf-8")


GOOD_PLUGIN = """
    class Plugin:
        def __init__(self, config, redis_client, db_config):
            self.given = (config, redis_client, db_config)
            self.calls = []
        def set_nucleus(self, nucleus):
            self.calls.append(("set_nucleus", nucleus))
        async def inicializar(self, nucleus):
            self.calls.append(("inicializar", nucleus))
        async def procesar(self, datos, contexto):
            return {}
        async def detener(self):
            self.calls.append(("detener", None))
"""


def write_config(path: Path, **settings: Any) -> Path:
    """Write a corec.yaml that waits for no database."""
    path.write_text(yaml.safe_dump({"db_wait_seconds": 0, **settings}), encoding="utf-8")
    return path


class Script(ProcesadorBase):
    """Does what the given function does, and keeps what it was given."""

    def __init__(self, work: Callable[[dict[str, Any]], Any]) -> None:
        self.work = work
        self.seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> Any:
        self.seen.append((datos, contexto))
        result = self.work(datos)
        return await result if asyncio.iscoroutine(result) else result


class OwnReader(Script):
    lee_eventos = True
