"""A TCP proxy that can fall silent, as a cut network does: nobody is told, nothing is closed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn


class Proxy:
    """Forwards connections to a socket until `freeze`; those that were open then never wake."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._deaf: list[socket.socket] = []
        self._frozen = False
        self._lock = threading.Lock()
        self._stop_read, self._stop_write = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stop_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def freeze(self) -> None:
        """From now on nothing passes; new connections are accepted and hear nothing."""
        with self._lock:
            self._frozen = True
            for side in self._peers:
                self._selector.unregister(side)
            self._deaf.extend(self._peers)
            self._peers.clear()

    def thaw(self) -> None:
        """New connections pass again; those from before stay cut."""
        with self._lock:
            self._frozen = False

    def close(self) -> None:
        self._stop_write.close()
        self._thread.join()
        for end in (*self._peers, *self._deaf, self._listener, self._stop_read):
            end.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(0.05)]
            if self._stop_read in ready:
                return
            with self._lock:
                for side in ready:
                    assert isinstance(side, socket.socket)
                    self._handle(side)

    def _handle(self, side: socket.socket) -> None:
        if side is self._listener:
            client, _ = self._listener.accept()
            if self._frozen:
                self._deaf.append(client)
            else:
                self._join(client)
        elif side in self._peers:
            self._forward(side)

    def _join(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, side: socket.socket) -> None:
        peer = self._peers[side]
        data = b""
        with contextlib.suppress(OSError):
            data = side.recv(65536)
            peer.sendall(data)
        if not data:
            for end in (side, peer):
                del self._peers[end]
                self._selector.unregister(end)
                end.close()


@contextlib.contextmanager
def postgres_proxy(dsn: str) -> Iterator[tuple[Proxy, dict[str, Any]]]:
    """A proxy in front of a database that has a socket; and the parameters that lead through it."""
    parts = parse_dsn(dsn)
    proxy = Proxy(Path(parts["host"]) / f".s.PGSQL.{parts.get('port', 5432)}")
    try:
        yield proxy, {**parts, "host": "127.0.0.1", "port": proxy.port}
    finally:
        proxy.close()
