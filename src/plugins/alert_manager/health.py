"""What `/health` says: each part's state, and whether the whole does its job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .domain.delivery import ChannelState
from .domain.errors import NotNowError


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


Probe = Callable[[], Awaitable[None]]
"""Asks a part whether it works; raises `NotNowError` where it does not."""


class Health:
    """Asks every part how it is.

    Args:
        probes: the databases, by name.
        readers: say how each source is read.
        cache_available: says whether Redis answers.
        channels: says how each notification channel is doing.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        readers: Mapping[str, Callable[[], Part]],
        cache_available: Callable[[], bool],
        channels: Callable[[], Mapping[str, ChannelState]],
    ) -> None:
        self._probes = probes
        self._readers = readers
        self._cache_available = cache_available
        self._channels = channels
        self._asking: asyncio.Task[Report] | None = None

    async def report(self) -> Report:
        """Returns the state now; who asks at the same time shares one answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> Report:
        asked = await asyncio.gather(*(_ask(probe) for probe in self._probes.values()))
        parts = dict(zip(self._probes, asked, strict=True))
        parts |= {name: state() for name, state in self._readers.items()}
        cached = self._cache_available()
        detail = "ok" if cached else "sin caché: más lento, no se pierde nada"
        parts["redis"] = Part(cached, detail, vital=False)
        parts |= {f"canal {name}": _channel(state) for name, state in self._channels().items()}
        return Report(parts)


async def _ask(probe: Probe) -> Part:
    try:
        await probe()
    except NotNowError as error:
        return Part(False, str(error))
    return Part(True, "ok")


def _channel(state: ChannelState) -> Part:
    if state.disabled is not None:
        return Part(False, f"deshabilitado: {state.disabled}", vital=False)
    if state.open:
        return Part(False, f"circuit breaker abierto: {state.last_error}", vital=False)
    return Part(True, state.last_error or "ok", vital=False)
