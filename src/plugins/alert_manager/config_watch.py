"""Notices that the configuration is to be read again: its file changed, or SIGHUP came."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

log = logging.getLogger("corec.alert_manager.config")

INTERVAL = 2.0  # seconds between looks at the file


class ConfigWatch:
    """Watches a file. Who changes it has finished when two looks find the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked = asyncio.Event()
        self._known = self._seen = _read(path)

    async def changed(self) -> None:
        """Returns when the file is to be read."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._asked.wait()
                    self._asked.clear()
                    self._known = self._seen = await asyncio.to_thread(_read, self.path)
                    return
            if await asyncio.to_thread(self.look):
                return

    def look(self) -> bool:
        """Whether the file has another content, and had it at the last look too."""
        before, self._seen = self._seen, _read(self.path)
        if self._seen is None or not self._seen == before != self._known:
            return False
        self._known = self._seen
        return True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hears SIGHUP meanwhile, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def ask(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._asked.set)

        # Not the loop's own handlers: they would take the host's wake-up descriptor.
        before = signal.signal(signal.SIGHUP, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
