"""Reads and judges a source's next batches while the one before them is being committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NamedTuple

from .domain.model import Fetched, P
from .domain.outcome import Judged
from .ports import Reader
from .recorder import Recorder


class Batch(NamedTuple, Generic[P]):
    """What was read from a position on.

    Attributes:
        looked_at: when it was begun to be read (epoch seconds).
        judged: what its first events came to by themselves, as far as they are judged already.
    """

    looked_at: float
    fetched: Fetched[P]
    judged: Judged | None = None


class Prefetch(Generic[P]):
    """Batches of one source, in order; belongs to one task at a time.

    While one is committed the next one is judged, and the one after that is read. What is read
    ahead may be dropped and read again: nothing comes of it but metrics of reading.
    """

    def __init__(self, reader: Reader[P], recorder: Recorder) -> None:
        self._reader = reader
        self._recorder = recorder
        self._pages: _Ahead[P] = _Ahead("read ahead")
        self._batches: _Ahead[P] = _Ahead("judge ahead")

    async def next(self, position: P) -> Batch[P]:
        """Returns what comes after a position.

        Raises:
            NotNowError: a database does not answer.
        """
        batch = self._batches.taken(position)
        if batch is not None:
            return await batch
        await _ended(self._batches.cancelled())
        return await self._page(position)

    def begin(self, position: P, most: int, left: int) -> None:
        """Begins to read what comes after a position, and to judge `most` events of it.

        Once is enough: what is read ahead already stays. `left`: how many batches will be asked
        for, at the most.
        """
        if self._reader.reads_ahead:
            self._batches.begin(position, lambda: self._judged(position, most, reads_on=left > 1))

    async def drop(self) -> None:
        """Forgets what was read ahead."""
        await _ended(self._batches.cancelled() + self._pages.cancelled())

    async def _judged(self, position: P, most: int, *, reads_on: bool) -> Batch[P]:
        batch = await self._page(position)
        fetched = batch.fetched
        if not fetched.events or fetched.anew is not None:
            return batch
        if fetched.more and reads_on:
            self._pages.begin(fetched.position, lambda: self._read(fetched.position))
        return batch._replace(judged=await self._recorder.look_at(fetched.events[:most]))

    async def _page(self, position: P) -> Batch[P]:
        page = self._pages.taken(position)
        if page is not None:
            return await page
        await _ended(self._pages.cancelled())
        return await self._read(position)

    async def _read(self, position: P) -> Batch[P]:
        return Batch(time.time(), await self._reader.fetch(position))


class _Ahead(Generic[P]):
    """What is being done ahead of its turn, for one position."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun: tuple[P, asyncio.Task[Batch[P]]] | None = None

    def begin(self, position: P, work: Callable[[], Coroutine[Any, Any, Batch[P]]]) -> None:
        """Begins what leads to a position's batch, unless something is begun already."""
        if self._begun is None:
            task = asyncio.create_task(work(), name=self._name)
            task.add_done_callback(_retrieve)
            self._begun = position, task

    def taken(self, position: P) -> asyncio.Task[Batch[P]] | None:
        """Hands over what was begun for a position, if that is what was begun."""
        if self._begun is None or self._begun[0] is not position:
            return None
        task, self._begun = self._begun[1], None
        return task

    def cancelled(self) -> list[asyncio.Task[Batch[P]]]:
        """Cancels what was begun and forgets it; returns what has to come to its end."""
        begun, self._begun = self._begun, None
        if begun is None:
            return []
        begun[1].cancel()
        return [begun[1]]


async def _ended(tasks: list[asyncio.Task[Batch[P]]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _retrieve(task: asyncio.Task[Batch[P]]) -> None:
    """Takes the fault of what nobody waits for any more, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
