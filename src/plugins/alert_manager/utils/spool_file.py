"""A SQLite file with a thread of its own: what must outlive us while alert_db does not answer."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..domain.errors import SpoolUnusableError
from .queries import statements

T = TypeVar("T")

_BUSY = 5.0  # seconds


def statement(name: str) -> str:
    """Returns the SQL of a named statement of spool.sql.

    Raises:
        KeyError: there is no such name.
    """
    return statements("spool.sql")[name]


class SpoolFile:
    """One SQLite file; made when something is first written to it, for its owner's eyes alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work(connection)` in the file's thread as one transaction, on disk when it returns.

        Raises:
            SpoolUnusableError: the file cannot be written: a full disk, or no right to it.
        """
        loop = asyncio.get_running_loop()
        # Not to be cut off: what was written is known to whoever asked for it.
        return await asyncio.shield(loop.run_in_executor(self._executor, self._call, work))

    async def close(self) -> None:
        """Closes the file and ends the thread."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._drop)
        self._executor.shutdown(wait=False)

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._opened() as connection:
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise SpoolUnusableError(
                f"no se puede escribir en {self.path} ({error}); revisa el disco y sus permisos"
            ) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(statement("make"))
            if not rows(connection, "has_event_data"):  # what an older version left
                connection.executescript(statement("add_event_data"))
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def rows(
    connection: sqlite3.Connection, name: str, arguments: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """Returns the rows of a named statement."""
    return connection.execute(statement(name), arguments or {}).fetchall()
