"""Fixtures of the host's tests, on the real servers of tests/conftest.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn
from redis.asyncio import Redis

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from src.core.processors.base import ProcesadorBase
from src.core.store import CorecStore
from src.utils.postgres import Database
from tests.core.helpers import MakeNucleus, PluginFolder, Script, write_config


@pytest.fixture
def plugin_folder(tmp_path: Path) -> PluginFolder:
    return PluginFolder(tmp_path)


@pytest.fixture
async def database(corec_dsn: str) -> AsyncIterator[Database]:
    database = Database(parse_dsn(corec_dsn), size=2)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def store(database: Database) -> CorecStore:
    return CorecStore(database)


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def make_nucleus(
    tmp_path: Path,
    plugin_folder: PluginFolder,
    corec_dsn: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[MakeNucleus]:
    made: list[CoreCNucleus] = []
    monkeypatch.delenv("INSTANCE_ID", raising=False)

    def build(dsn: str = corec_dsn, redis: str = redis_url, **settings: Any) -> CoreCNucleus:
        monkeypatch.setenv("COREC_DB_DSN", dsn)
        monkeypatch.setenv("REDIS_URL", redis)
        settings = {"canales_criticos": ["seguridad_alertas"], **settings}
        path = write_config(
            tmp_path / "corec.yaml", plugins_dir=str(plugin_folder.path), **settings
        )
        nucleus = CoreCNucleus(path, "i9")
        made.append(nucleus)
        return nucleus

    yield build
    for nucleus in made:
        await nucleus.detener()


@pytest.fixture
async def make(
    store: CorecStore, redis_client: Redis
) -> AsyncIterator[Callable[..., CeluEntidadCoreC]]:
    made: list[CeluEntidadCoreC] = []

    def build(work: Any, intervalo: float = 0.02, **more: Any) -> CeluEntidadCoreC:
        processor = work if isinstance(work, ProcesadorBase) else Script(work)
        celu = CeluEntidadCoreC("nano_x", processor, "canal_x", intervalo, {}, **more)
        celu.vincular(store, redis_client)
        made.append(celu)
        return celu

    yield build
    for celu in made:
        await celu.detener()
