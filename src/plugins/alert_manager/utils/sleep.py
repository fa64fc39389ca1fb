"""Sleeping until a writer of `eventos` wakes us, where the host's trigger does that."""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Mapping

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from .queries import fetch_value, prepared_value

log = logging.getLogger("corec.alert_manager.eventos")

WAKE_CHANNEL = "corec_eventos"
# configs/core/schema.sql: its trigger notifies only while somebody holds this lock exclusively.
SLEEP_LOCK = {"class": 0x636F7265, "object": 1}
_FIRST_PAUSE = 0.002  # seconds


class Sleeper:
    """Waits for a writer on a connection in autocommit; everything runs in the session's thread.

    Args:
        poll_interval: seconds between looks where nobody can wake us.
    """

    def __init__(self, poll_interval: float) -> None:
        self._poll_interval = poll_interval
        self._pause = _FIRST_PAUSE
        self._has_trigger = False
        self._listening = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def prepare(self, connection: Connection) -> None:
        """Looks whether writers can wake us; call it once for each new connection."""
        self._listening = False
        with connection.cursor() as cursor:
            self._has_trigger = bool(fetch_value(cursor, "eventos_has_trigger"))
        if not self._has_trigger:
            log.info(
                "la tabla eventos no tiene un disparador que avise: se consulta cada %g s",
                self._poll_interval,
            )

    def stop_listening(self, connection: Connection) -> None:
        """Hears of no writer: notifications that nobody fetches pile up, also in the server."""
        if self._listening:
            with connection.cursor() as cursor:
                cursor.execute(f"UNLISTEN {WAKE_CHANNEL}")
            self._listening = False

    def busy(self) -> None:
        """Hears that there was something to read: the next pause is short."""
        self._pause = _FIRST_PAUSE

    def sleep(self, connection: Connection, seconds: float, news: Mapping[str, int | str]) -> None:
        """Sleeps until a writer or `wake` ends it, or for `seconds`.

        `news` are the arguments of `eventos_any`, which says whether there is something already.
        """
        if not self._has_trigger:
            self._wait(connection, min(seconds, self._poll_interval))
            return
        with connection.cursor() as cursor:
            if not self._listening:
                cursor.execute(f"LISTEN {WAKE_CHANNEL}")
                self._listening = True
            if not prepared_value(cursor, "eventos_try_sleep", SLEEP_LOCK):
                # A writer is at work and will not notify: look again soon, then less and less.
                self._wait(connection, min(seconds, self._pause))
                self._pause = min(self._pause * 2, self._poll_interval)
                return
            try:
                # A writer that ended before the lock was ours did not notify: one look more.
                if not prepared_value(cursor, "eventos_any", news):
                    self._wait(connection, seconds)
            finally:
                with contextlib.suppress(psycopg2.Error):  # then the lock went with the connection
                    prepared_value(cursor, "eventos_wake", SLEEP_LOCK)

    def wake(self) -> None:
        """Ends a sleep at once; safe from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):  # full of calls already, or closed
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Closes the pipe; call it when nothing sleeps any more."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wait(self, connection: Connection, seconds: float) -> None:
        """Waits for `wake`, a notification, or the end of `seconds`."""
        # A notification may have come in with the answer to the last statement: it is in memory
        # then, and the socket would stay silent.
        if not connection.notifies:
            watched = select.poll()  # not select(): it knows no descriptor above 1023
            for descriptor in (self._wake_read, connection.fileno()):
                watched.register(descriptor, select.POLLIN)
            ready = watched.poll(seconds * 1000)
            if any(descriptor == self._wake_read for descriptor, _ in ready):
                os.read(self._wake_read, 4096)
            connection.poll()
        connection.notifies.clear()
