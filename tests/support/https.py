"""Well-known services on this machine: an HTTPS proxy that takes every host to one local server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.support.discord import DiscordServer


@asynccontextmanager
async def services(
    hosts: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordServer]:
    """A server that stands for these hosts, by the proxy and the CA that `requests` is told of."""
    authority = trustme.CA()
    certificates = folder / "ca.pem"
    authority.cert_pem.write_to_path(certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    async with DiscordServer(tls=context) as server, _proxy(server.port) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates))
        yield server


@asynccontextmanager
async def _proxy(target: int) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")  # CONNECT host:443
            there, back = await asyncio.open_connection("127.0.0.1", target)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pump(reader, back), _pump(there, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
    writer.close()
