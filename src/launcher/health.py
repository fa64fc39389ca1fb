"""Whether an instance answers `GET /health`."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import psutil

from src.launcher.errors import LauncherError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Health:
    """An answer of `/health`: its HTTP status and its body, indented where it is JSON."""

    status: int
    body: str

    @property
    def ok(self) -> bool:
        """Whether every part works."""
        return self.status == http.client.OK

    @property
    def works(self) -> bool:
        """Whether it does its job, if with a part that fails: without Redis it is only slower."""
        return self.ok or self._content().get("estado") == "degradado"

    @property
    def condition(self) -> str:
        """How it is, in words, where it works."""
        return "sano" if self.ok else "no del todo sano"

    @property
    def complaints(self) -> list[str]:
        """One line about each part that fails."""
        return [f"Aviso: {name}: {detail}" for name, detail in self.wrong.items()]

    @property
    def wrong(self) -> dict[str, str]:
        """What is wrong with which part; empty where the answer does not say."""
        parts = self._content().get("partes")
        if not isinstance(parts, dict):
            return {}
        return {name: str(part.get("detalle")) for name, part in parts.items() if not part["ok"]}

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(self.body)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Endpoint:
    """Where an instance is told to listen.

    Attributes:
        host: the address.
        port: the port; 0 takes a free one.
        token: what every request must carry, if anything.
    """

    host: str
    port: int
    token: str | None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read COREC_HTTP_HOST, COREC_HTTP_PORT and COREC_HTTP_TOKEN.

        Raises:
            LauncherError: the port is no port.
        """
        text = environ.get("COREC_HTTP_PORT") or str(DEFAULT_PORT)
        if not text.isdecimal() or int(text) > 65535:
            raise LauncherError(
                f"COREC_HTTP_PORT: se encontró {text!r}; se espera un número de 0 a 65535 "
                "(0 elige un puerto libre)."
            )
        host = environ.get("COREC_HTTP_HOST") or DEFAULT_HOST
        return cls(host, int(text), environ.get("COREC_HTTP_TOKEN") or None)

    @property
    def reachable_host(self) -> str:
        """The address to ask: this machine where it listens on all of them."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    def url(self, port: int) -> str:
        """The address for a person."""
        host = f"[{self.reachable_host}]" if ":" in self.reachable_host else self.reachable_host
        return f"http://{host}:{port}"

    def ask(self, port: int) -> Health | None:
        """One `GET /health`; None when nobody answers."""
        link = http.client.HTTPConnection(self.reachable_host, port, timeout=PROBE_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            link.request("GET", "/health", headers=headers)
            answer = link.getresponse()
            return Health(answer.status, _readable(answer.read(65_536)))
        except (OSError, http.client.HTTPException):
            return None
        finally:
            link.close()

    def check_free(self) -> None:
        """Refuse a port that somebody else has.

        Raises:
            LauncherError: it is taken, or the address is not this machine's.
        """
        if self.port == 0:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            # As servers do: connections of an earlier run in TIME_WAIT don't count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as exc:
                raise LauncherError(self._taken(exc)) from exc

    def _taken(self, exc: OSError) -> str:
        who = _listener(self.port)
        if who is None and isinstance(exc, (PermissionError, socket.gaierror)):
            return (
                f"No se puede escuchar en {self.host}:{self.port} ({exc.strerror}). Elige otro "
                "puerto con COREC_HTTP_PORT o 127.0.0.1 en COREC_HTTP_HOST."
            )
        by = f" por {who}" if who else ""
        return (
            f"El puerto {self.port} de {self.host} está ocupado{by}. Elige otro, por ejemplo "
            f"COREC_HTTP_PORT={self.port + 1 if self.port < 65535 else 8000}, o "
            "COREC_HTTP_PORT=0 para que se tome uno libre."
        )


def _listener(port: int) -> str | None:
    try:
        for link in psutil.net_connections(kind="tcp"):
            if link.status == psutil.CONN_LISTEN and link.laddr and link.laddr.port == port:
                if link.pid is None:
                    return None
                return f"«{psutil.Process(link.pid).name()}» (pid {link.pid})"
    except psutil.Error:
        return None
    return None


def _readable(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
