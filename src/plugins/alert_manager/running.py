"""The parts that run, and their replacement by others while nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Running(Generic[T]):
    """Holds what runs; empty before the start and after the end."""

    def __init__(self) -> None:
        self._parts: T | None = None
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._open = asyncio.Event()
        self._open.set()

    def get(self) -> T:
        """Returns what runs.

        Raises:
            RuntimeError: nothing does.
        """
        if self._parts is None:
            raise RuntimeError("alert_manager no está en marcha: falta inicializar(nucleus)")
        return self._parts

    def set(self, parts: T) -> None:
        """Begins with these."""
        self._parts = parts

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[T | None]:
        """Ends: gives what ran, to be stopped; None where nothing did.

        Waits for a replacement that is under way, and not for who uses what runs.
        """
        await self._open.wait()
        parts, self._parts = self._parts, None
        yield parts

    @asynccontextmanager
    async def use(self) -> AsyncIterator[T]:
        """Gives what runs, which is not replaced meanwhile; waits while it is being replaced.

        Raises:
            RuntimeError: nothing runs.
        """
        await self._open.wait()
        parts = self.get()
        self._users += 1
        self._unused.clear()
        try:
            yield parts
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def replace(self, change: Callable[[T], Awaitable[T]]) -> None:
        """Waits until nobody uses what runs, and puts what `change` makes of it in its place.

        Raises:
            RuntimeError: nothing runs.
        """
        self._open.clear()
        try:
            await self._unused.wait()
        except BaseException:
            self._open.set()
            raise
        # Not to be cut off from here on: nothing would run.
        await asyncio.shield(self._swap(change))

    async def _swap(self, change: Callable[[T], Awaitable[T]]) -> None:
        try:
            self._parts = await change(self.get())
        finally:
            self._open.set()
