"""`GET /health`, `/live` and `/metrics`, on loopback unless a token protects them."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..health import Health
from ..hosts import is_loopback
from ..metrics import Metrics

log = logging.getLogger("corec.alert_manager.web")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
_FRESH = {"Cache-Control": "no-store"}
_STOP = 2.0  # seconds that open requests may still take


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one. `token`, if set, is asked of every request."""

    host: str
    port: int
    token: str | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Address:
        """Reads COREC_HTTP_HOST, COREC_HTTP_PORT and COREC_HTTP_TOKEN.

        Raises:
            ValueError: the port is no port, or another host than loopback comes without a token.
        """
        host = environ.get("COREC_HTTP_HOST") or DEFAULT_HOST
        text = environ.get("COREC_HTTP_PORT") or str(DEFAULT_PORT)
        token = environ.get("COREC_HTTP_TOKEN") or None
        if not text.isdecimal() or int(text) > 65535:
            raise ValueError(f"COREC_HTTP_PORT: se encontró {text!r}; se espera 0..65535")
        if token is None and not is_loopback(host):
            raise ValueError(
                f"COREC_HTTP_HOST: {host!r} es visible desde otras máquinas; define "
                "COREC_HTTP_TOKEN o usa 127.0.0.1"
            )
        return cls(host, int(text), token)


class WebServer:
    """Serves health and metrics; writes its port to `http.port` for scripts."""

    def __init__(self, address: Address, health: Health, metrics: Metrics, home: Path) -> None:
        self._address = address
        self._health = health
        self._metrics = metrics
        self._port_file = home / "http.port"
        self._runner: web.AppRunner | None = None
        self.port: int | None = None

    async def start(self) -> None:
        """Starts to listen.

        Raises:
            OSError: the address is taken.
        """
        app = web.Application(middlewares=[_require(self._address.token)])
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/live", self._get_live)
        app.router.add_get("/metrics", self._get_metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, self._address.host, self._address.port).start()
        self.port = runner.addresses[0][1]
        self._port_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._port_file.with_name(f"http.port.{os.getpid()}")
        temporary.write_text(f"{self.port}\n", encoding="utf-8")
        temporary.replace(self._port_file)  # a reader sees the old file or the new one, whole

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get_health(self, request: web.Request) -> web.Response:
        """Readiness: 503 names every part that does not work."""
        report = await self._health.report()
        return _answer(report.as_json(), report.ok)

    async def _get_live(self, request: web.Request) -> web.Response:
        """Liveness: 503 only where a restart of the process helps."""
        wrong = self._health.to_restart()
        state = "reiniciar" if wrong else "vivo"
        return _answer({"estado": state, "mal": list(wrong)}, not wrong)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8", **_FRESH},
        )


def _answer(body: Mapping[str, object], good: bool) -> web.Response:
    return web.json_response(body, status=200 if good else 503, headers=_FRESH)


def _require(token: str | None) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
            return web.json_response(
                {"error": "falta el token: Authorization: Bearer …"},
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return check
