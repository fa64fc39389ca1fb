"""SIGTERM and SIGINT, heard while the event loop is blocked too."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Calls `on_stop` in a thread of its own at the first signal; the ones after it do nothing.

    Python runs a signal's handler in the main thread, which may be inside a C function for long (a
    query, a connection). The interpreter writes the signal's number to the wake-up descriptor at
    once, and a thread reads it there.

    Args:
        on_stop: what to do with the signal.
    """

    def __init__(self, on_stop: Callable[[signal.Signals], None]) -> None:
        self._on_stop = on_stop
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)

    def listen(self) -> None:
        """Take the signals over, for the rest of the process; call it in the main thread."""
        threading.Thread(target=self._hear, name="señales", daemon=True).start()
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Tell the thread again: a plugin's own use of asyncio may have taken the descriptor."""
        del frame
        with contextlib.suppress(OSError):  # full: it has been told
            self._mouth.send(bytes([number]))

    def _hear(self) -> None:
        while (number := self._ear.recv(1)[0]) not in STOP_SIGNALS:
            pass
        self._on_stop(signal.Signals(number))
