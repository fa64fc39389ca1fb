"""One psycopg2 connection that another thread can cut off."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

_LOG = logging.getLogger(__name__)


class Link:
    """A connection, and a way to cut it off.

    libpq closes its own descriptor when a connection breaks, and another thread's file may get the
    number; the duplicate stays this connection's, so that nobody else is ever cut.
    """

    def __init__(self, conn: connection) -> None:
        self.conn = conn
        self._socket = socket.socket(fileno=os.dup(conn.fileno()))

    def alive(self) -> bool:
        """Tell a usable idle connection from one whose server went away, without a round trip.

        A server that ends a session sends its farewell and closes: the socket becomes readable.
        """
        conn = self.conn
        if conn.closed or conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
            return False
        poller = select.poll()
        poller.register(conn.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poller.poll(0)

    def cut(self) -> None:
        """Make a thread that waits for the server return, with an error. Never blocks.

        Not `connection.cancel()`, which connects anew with the GIL held: with a server that fell
        silent it stops every thread of the process for good.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give both descriptors back."""
        self._socket.close()
        try:
            self.conn.close()
        except psycopg2.Error as exc:
            _LOG.debug("al cerrar una conexión: %s", exc)
