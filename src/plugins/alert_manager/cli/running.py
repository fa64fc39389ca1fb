"""What a running CoreC says of itself, over HTTP."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..home import home
from ..web.server import DEFAULT_HOST, DEFAULT_PORT

_TIMEOUT = 8.0  # seconds; /health asks databases that may not answer
_MAX_BODY = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What `/health` answered.

    Attributes:
        url: that was asked.
        health: its JSON; None where there was no answer.
        trouble: why there was none, in a sentence; None where there was.
    """

    url: str
    health: Mapping[str, Any] | None = None
    trouble: str | None = None


def ask_health() -> Said:
    """Asks the CoreC of this home how it is; never longer than 8 s."""
    url = f"{_base()}/health"
    token = os.environ.get("COREC_HTTP_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (the scheme is ours)
    # Not by a proxy of the environment: it is on this machine, or named by its address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            return _read(url, answer.read(_MAX_BODY))
    except urllib.error.HTTPError as error:  # 503: something is wrong, and it says what
        if error.code == 401:
            return Said(url, trouble="pide un token: define COREC_HTTP_TOKEN como en el arranque")
        return _read(url, error.read(_MAX_BODY))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Said(url, trouble=f"no responde ({type(reason).__name__})")


def _base() -> str:
    host = os.environ.get("COREC_HTTP_HOST") or DEFAULT_HOST
    if host in ("0.0.0.0", "::"):  # noqa: S104  (where it listens, not whom to ask)
        host = DEFAULT_HOST
    try:
        port = int((home(os.environ) / "http.port").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        port = int(os.environ.get("COREC_HTTP_PORT") or DEFAULT_PORT) or DEFAULT_PORT
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _read(url: str, body: bytes) -> Said:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("partes"), dict):
        return Said(url, trouble="responde otra cosa que CoreC: ¿usa ese puerto otro programa?")
    return Said(url, content)
