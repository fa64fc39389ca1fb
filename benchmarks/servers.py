"""Servers of a benchmark's own, that keep what they commit, and the databases of one run."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from src.launcher.processes import last_lines, spawn, wait_until
from src.launcher.psql import server_environ
from src.launcher.signals import uninterrupted
from tests.conftest import CORE_SCHEMA
from tests.plugins.conftest import World
from tests.support.servers import TestPostgres, TestRedis, guarded_directory, running_redis

_DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}
_START, _STOP = 60.0, 10.0  # seconds
_LOOK = 0.05  # seconds between two looks, which ask servers that are measured


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


@contextmanager
def private_redis() -> Iterator[TestRedis]:
    """A Redis; nothing of it stays behind."""
    with guarded_directory() as root, running_redis(TestRedis(root / "redis")) as redis:
        yield redis


def fresh_world(postgres: TestPostgres, redis: TestRedis | None = None) -> World:
    """Empty databases of CoreC and of alerts, and a Redis, emptied, or none."""
    corec_dsn = postgres.create_database("corec", owner="corec_user")
    postgres.apply(corec_dsn, CORE_SCHEMA)
    alert_dsn = postgres.create_database("alert", owner="alert_user")
    if redis is not None:
        assert redis.command("FLUSHALL") == "+OK"
    return World(corec_dsn, alert_dsn, "" if redis is None else redis.url)


def until(check: Callable[[], bool], seconds: float) -> None:
    """Waits until it holds.

    Raises:
        TimeoutError: it does not, in that time.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(_LOOK)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


@contextmanager
def web_server(
    command: Sequence[str | Path], folder: Path, port: int, ready: str, **environ: str
) -> Iterator[None]:
    """Somebody else's server on 127.0.0.1, ended by its pid however the block ends.

    Args:
        command: the program and its arguments, which name the port.
        folder: an empty one right below a guarded directory; it works there.
        port: where it listens.
        ready: the path that it answers with 200 once it serves.
        environ: its environment, beside what every server of ours has.

    Raises:
        RuntimeError: it does not come up; with the last lines of what it wrote.
    """
    log, pid_file = folder / "log", folder / "server.pid"
    with uninterrupted():
        process = spawn(command, log=log, environ={**server_environ(), **environ}, cwd=folder)
        pid_file.write_text(str(process.pid), encoding="ascii")  # for the directory's guard
    try:
        wait_until(lambda: process.poll() is not None or _answers(port, ready), _START)
        if process.poll() is not None or not _answers(port, ready):
            raise RuntimeError(f"{command[0]} does not answer {ready}:\n{last_lines(log)}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        pid_file.unlink()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
