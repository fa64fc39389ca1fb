"""Servers of a benchmark's own, that keep what they commit, and the databases of one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import CORE_SCHEMA
from tests.plugins.conftest import World
from tests.support.servers import TestPostgres, guarded_directory

_DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}


@contextmanager
def durable_postgres(**settings: str) -> Iterator[TestPostgres]:
    """A PostgreSQL with fsync, and these settings of the server; nothing of it stays behind."""
    with guarded_directory() as root:
        postgres = TestPostgres(root / "pg", {**_DURABLE, **settings})
        postgres.root.mkdir(mode=0o711)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop("immediate")


def fresh_world(postgres: TestPostgres) -> World:
    """Empty databases of CoreC and of alerts; no Redis."""
    corec_dsn = postgres.create_database("corec", owner="corec_user")
    postgres.apply(corec_dsn, CORE_SCHEMA)
    return World(corec_dsn, postgres.create_database("alert", owner="alert_user"), "")
