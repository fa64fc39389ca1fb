"""Keeps alert_db from growing for ever: what is older than the retention goes, gently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from .domain.errors import NotNowError
from .domain.gentle import Piece
from .faults import log_fault
from .metrics import Metrics
from .tasks import end_task

log = logging.getLogger("corec.alert_manager.retention")

FIRST = 60.0  # seconds after a start: it has other things to do first
INTERVAL = 3600.0  # seconds between two rounds, so that each finds little to do
_STOP = 1.0  # seconds that a piece in hand may still take
_NAMES = {
    "alerts": "alertas",
    "notifications": "avisos",
    "deliveries": "entregas",
    "alert_history": "pasos de su historia",
    "dead_letters": "eventos ilegibles",
    "rule_states": "recuerdos de reglas",
    "threshold_changes": "cambios de umbrales",
    "silences": "silencios",
    "told_ahead": "avisos adelantados",
}


class Swept(NamedTuple):
    """What a look at some rows came to.

    Attributes:
        gone: rows that were deleted, by table.
        waiting: open alerts of severity critica that stay although they are as old.
    """

    gone: Mapping[str, int]
    waiting: int = 0


class Sweeper(Protocol):
    """Deletes what is old, piece by piece. Every call may raise `NotNowError`."""

    async def take_turn(self) -> bool:
        """Begins a round; False while another instance is at it."""
        ...

    async def sweep(self, rows: int) -> Swept | None:
        """Looks at the next `rows` rows, and deletes what is old; None: the round is over."""
        ...

    async def give_turn_back(self) -> None:
        """Ends the round."""
        ...


class Retention:
    """A task that sweeps; without a sweeper, everything is kept.

    Args:
        sweeper: what deletes.
        metrics: counts what was deleted.
    """

    def __init__(self, sweeper: Sweeper | None, metrics: Metrics) -> None:
        self._sweeper = sweeper
        self._metrics = metrics
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told_waiting = 0
        for table in _NAMES:  # shown as 0 until the first one goes
            metrics.deleted_rows.labels(table)

    def start(self) -> None:
        """Begins, after a while."""
        if self._sweeper is not None:
            task = self._sweep_now_and_then(self._sweeper)
            self._task = asyncio.create_task(task, name="retention")

    async def stop(self) -> None:
        """Ends between two pieces; one that hangs is cut off, and has deleted nothing."""
        self._stopping.set()
        await end_task(self._task, _STOP)

    async def _sweep_now_and_then(self, sweeper: Sweeper) -> None:
        await self._rest(FIRST)
        while not self._stopping.is_set():
            try:
                await self.round(sweeper)
            except NotNowError as error:
                log.debug("no se borra lo antiguo: %s", error)  # others say aloud that it is away
            except Exception as error:  # noqa: BLE001  (no fault of ours may end the sweeping)
                log_fault(log, "fallo inesperado al borrar lo antiguo", error)
            await self._rest(INTERVAL)

    async def round(self, sweeper: Sweeper) -> Counter[str]:
        """Sweeps once; returns how many rows of each table went.

        Raises:
            NotNowError: alert_db does not answer; what was deleted until then is.
        """
        gone: Counter[str] = Counter()
        if not await sweeper.take_turn():
            log.debug("otra instancia borra lo antiguo")
            return gone
        try:
            self._tell_waiting(await self._pieces(sweeper, gone))
        except Exception:  # not where it is cut off: then the turn goes with the connection
            with contextlib.suppress(NotNowError):
                await sweeper.give_turn_back()
            raise
        finally:
            if gone:
                log.info("se borró lo más antiguo: %s", _in_words(gone))
        await sweeper.give_turn_back()
        return gone

    async def _pieces(self, sweeper: Sweeper, gone: Counter[str]) -> int:
        piece, waiting = Piece(), 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            swept = await sweeper.sweep(piece.rows)
            if swept is None:
                break
            piece = piece.after(time.monotonic() - begun)
            waiting += swept.waiting
            for table, count in swept.gone.items():
                if count:
                    gone[table] += count
                    self._metrics.deleted_rows.labels(table).inc(count)
            await self._rest(piece.wait)
        return waiting

    def _tell_waiting(self, waiting: int) -> None:
        if waiting > self._told_waiting:
            log.warning(
                "%d alertas críticas siguen abiertas desde hace más que config.retention y no se "
                "borran: reconócelas o resuélvelas con ./scripts/alerts.sh",
                waiting,
            )
        self._told_waiting = waiting

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _in_words(gone: Counter[str]) -> str:
    return ", ".join(f"{count} {_NAMES[table]}" for table, count in gone.items())
