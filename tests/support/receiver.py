"""A web server that takes what is posted, in a process of its own.

It says its port on standard output, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web


async def _take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response()


async def _serve() -> None:
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("POST", "/{path:.*}", _take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextmanager
def receiver() -> Iterator[int]:
    """Runs it; gives the port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


if __name__ == "__main__":
    asyncio.run(_serve())
