"""Fixtures of the host's tests, on the real servers of tests/conftest.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn
from redis.asyncio import Redis

from src.core.store import CorecStore
from src.utils.postgres import Database
from tests.core.helpers import PluginFolder


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
