"""Reads and judges the next batch of a source while the one before it is being committed."""

from __future__ import annotations

import asyncio
import time
from typing import Generic, NamedTuple

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

    What is read ahead may be dropped and read again: nothing comes of it but metrics of reading.
    """

    def __init__(self, reader: Reader[P], recorder: Recorder) -> None:
        self._reader = reader
        self._recorder = recorder
        self._ahead: tuple[P, asyncio.Task[Batch[P]]] | None = None

    async def next(self, position: P) -> Batch[P]:
        """Returns what comes after a position.

        Raises:
            NotNowError: a database does not answer.
        """
        ahead = self._ahead
        if ahead is not None and ahead[0] is position:
            self._ahead = None
            return await ahead[1]
        await self.drop()
        return Batch(time.time(), await self._reader.fetch(position))

    def begin(self, position: P, most: int) -> None:
        """Begins to read what comes after a position, and to judge `most` events of it.

        Once is enough: what is read ahead already stays.
        """
        if self._reader.reads_ahead and self._ahead is None:
            task = asyncio.create_task(self._read(position, most), name="prefetch")
            task.add_done_callback(_retrieve)
            self._ahead = position, task

    async def drop(self) -> None:
        """Forgets what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[1].cancel()
            await asyncio.gather(ahead[1], return_exceptions=True)

    async def _read(self, position: P, most: int) -> Batch[P]:
        batch = Batch(time.time(), await self._reader.fetch(position))
        if not batch.fetched.events or batch.fetched.anew is not None:
            return batch
        return batch._replace(judged=await self._recorder.look_at(batch.fetched.events[:most]))


def _retrieve(task: asyncio.Task[Batch[P]]) -> None:
    """Takes the fault of what nobody waits for any more, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
