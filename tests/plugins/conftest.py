"""A running alert_manager on private servers, and ways to write to it and to look at it."""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import redis as sync_redis
import redis.asyncio as redis
import yaml
import zstandard
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.processors.alert_processor import AlertProcessor
from src.plugins.alert_manager.settings import Loaded, check
from src.plugins.alert_manager.untold import Untold
from src.plugins.alert_manager.utils.channels.discord import DiscordChannel, DiscordSettings
from src.plugins.alert_manager.utils.spool import Spool
from src.plugins.alert_manager.utils.spool_file import SpoolFile
from tests.support.discord import DiscordServer

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED_CONFIG = PROJECT / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
Arguments = Sequence[Any] | Mapping[str, Any]
GROUP = "alert_manager"  # the plugin's consumer group
SCHEMA = SHIPPED_CONFIG.with_name("schema.sql")
# A commit that fails with an error that is neither a lost connection nor a refused value.
BROKEN = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM nextval('tries'); RAISE 'clave=no-se-dice'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION broken()
"""


@functools.cache
def _shipped() -> dict[str, Any]:
    content = yaml.safe_load(SHIPPED_CONFIG.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def shipped_config() -> dict[str, Any]:
    """The configuration as it ships, for the caller to change: reading it takes 40 ms."""
    return copy.deepcopy(_shipped())


@functools.cache
def shipped() -> Loaded:
    """The same, checked."""
    return check(shipped_config())


async def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Waits until `check` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = await asyncio.to_thread(check)
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer: {found!r}"
        await asyncio.sleep(0.02)


@dataclass
class World:
    """The databases around a plugin, as other programs see them."""

    corec_dsn: str
    alert_dsn: str
    redis_url: str
    config: dict[str, Any] = field(default_factory=shipped_config)

    def write(
        self,
        canal: str,
        datos: bytes | str,
        timestamp: float | None = None,
        instance: str = "corec1",
    ) -> int:
        """Inserts an event, committed when this returns; returns its id."""
        stamp = time.time() if timestamp is None else timestamp
        payload = psycopg2.Binary(datos) if isinstance(datos, bytes) else datos
        sql = (
            "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
            " VALUES (%s, %s, %s, %s) RETURNING id"
        )
        return int(self.corec(sql, (canal, payload, stamp, instance))[0][0])

    def corec(self, sql: str, arguments: Arguments = ()) -> list[tuple[Any, ...]]:
        return _run(self.corec_dsn, sql, arguments)

    def alert(self, sql: str, arguments: Arguments = ()) -> list[tuple[Any, ...]]:
        return _run(self.alert_dsn, sql, arguments)

    def alerts(self) -> list[dict[str, Any]]:
        with psycopg2.connect(self.alert_dsn) as connection:
            try:
                with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                    cursor.execute("SELECT * FROM alerts ORDER BY id")
                    return [dict(row) for row in cursor]
            except psycopg2.errors.UndefinedTable:
                return []
            finally:
                connection.rollback()

    @asynccontextmanager
    async def running(
        self, instance: str = "corec1", config: Mapping[str, Any] | None = None
    ) -> AsyncIterator[AlertProcessor]:
        """A started plugin, stopped at the end."""
        client = redis.from_url(self.redis_url) if self.redis_url else None
        processor = AlertProcessor(
            config=config or {**self.config, "db_config": {"dsn": self.alert_dsn}},
            redis_client=client,
            db_config=parse_dsn(self.corec_dsn),
        )
        try:
            await processor.inicializar(SimpleNamespace(instance_id=instance))
            yield processor
        finally:
            await processor.detener()
            if client is not None:
                await client.aclose()


def show_to_commands(world: World, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Lets the command line find a world: its configuration in a file, and its databases."""
    file = folder / "alert_manager.yaml"
    file.write_text(yaml.safe_dump(world.config), encoding="utf-8")
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(file))
    monkeypatch.setenv("COREC_DB_DSN", world.corec_dsn)
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)


def unused_spool() -> Spool:
    """A spool for a delivery that is never without alert_db; of a world's home."""
    return Spool(SpoolFile(Path(os.environ["COREC_HOME"]) / "spool.sqlite3"), Untold())


def _run(dsn: str, sql: str, arguments: Arguments) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class Streams:
    """The streams as sibling plugins write them."""

    def __init__(self, url: str) -> None:
        self.client = sync_redis.Redis.from_url(url)

    def add(self, stream: str, payload: bytes, entry_id: str = "*") -> str:
        frame = zstandard.ZstdCompressor().compress(payload)
        added: Any = self.client.xadd(stream, {"data": frame}, id=entry_id)
        return str(added.decode())

    def pending(self, stream: str) -> int:
        summary: Any = self.client.xpending(stream, GROUP)
        return int(summary["pending"])


@pytest.fixture
def streams(redis_url: str) -> Iterator[Streams]:
    opened = Streams(redis_url)
    yield opened
    opened.client.close()


@pytest.fixture
def world(
    corec_dsn: str,
    alert_dsn: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setenv("COREC_HTTP_PORT", "0")
    monkeypatch.setenv("COREC_HOME", str(tmp_path / "home"))
    names = (
        "ALERT_DB_DSN",
        "COREC_DB_DSN",
        "ALERT_COREC_DB_DSN",
        "REDIS_URL",
        "ALERT_MANAGER_CONFIG",
    )
    for name in names:
        monkeypatch.delenv(name, raising=False)
    return World(corec_dsn, alert_dsn, redis_url)


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    """A local server that speaks Discord's webhook API."""
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def channel(server: DiscordServer) -> AsyncIterator[DiscordChannel]:
    opened = DiscordChannel(DiscordSettings(webhook_url=server.webhook_url, timeout=10))
    yield opened
    await opened.close()
