"""What `/health` says: each part's state, and whether the whole does its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from .utils.dedupe import DedupeCache
from .utils.notify import ChannelState, Delivery
from .utils.pg import DatabaseUnavailableError, PgSession

_PROBE_LIMIT = 4.0  # seconds


@dataclass(frozen=True, slots=True)
class Part:
    """The state of one part; `vital` ones decide the whole."""

    ok: bool
    detail: str
    vital: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """The state of all parts, by name."""

    parts: Mapping[str, Part]

    @property
    def ok(self) -> bool:
        """True when every vital part works."""
        return all(part.ok for part in self.parts.values() if part.vital)

    def as_json(self) -> dict[str, Any]:
        """Returns the body of `/health`."""
        return {
            "estado": "ok" if self.ok else "error",
            "partes": {
                name: {"ok": part.ok, "detalle": part.detail} for name, part in self.parts.items()
            },
        }


class Health:
    """Asks every part how it is; the databases with a statement of their own."""

    def __init__(
        self, corec: PgSession, alerts: PgSession, cache: DedupeCache, delivery: Delivery
    ) -> None:
        self._corec = corec
        self._alerts = alerts
        self._cache = cache
        self._delivery = delivery
        self.reader = Part(False, "arrancando")

    async def report(self) -> Report:
        """Returns the state now."""
        parts = {
            "corec_db": await _probe(self._corec),
            "alert_db": await _probe(self._alerts),
            "lector": self.reader,
            "redis": Part(
                self._cache.available,
                "ok" if self._cache.available else "sin caché; no se pierde nada",
                vital=False,
            ),
        }
        for name, state in self._delivery.states().items():
            parts[f"canal {name}"] = _channel(state)
        return Report(parts)


async def _probe(session: PgSession) -> Part:
    def ask(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    try:
        await session.run(ask, limit=_PROBE_LIMIT)
    except DatabaseUnavailableError as error:
        return Part(False, str(error))
    return Part(True, "ok")


def _channel(state: ChannelState) -> Part:
    if state.disabled is not None:
        return Part(False, f"deshabilitado: {state.disabled}", vital=False)
    if state.open:
        return Part(False, f"circuit breaker abierto: {state.last_error}", vital=False)
    return Part(True, state.last_error or "ok", vital=False)
