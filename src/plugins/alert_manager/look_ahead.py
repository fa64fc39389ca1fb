"""Reads on from where a source's reading stands, while alert_db does not let it go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Generic

from .domain.errors import NotNowError, SpoolUnusableError
from .domain.escape import single_line
from .domain.model import P
from .domain.outcome import Candidate
from .domain.redact import redact_text
from .foresight import Foresight
from .pipeline import Pipeline
from .ports import AheadStore, Reader, StoredPosition

log = logging.getLogger("corec.alert_manager.ahead")

_BATCHES = 20  # at one look, so that every source has its turn
SAVE_INTERVAL = 5.0  # seconds
_SHOWN = 2000  # characters


async def spooled(
    spool: AheadStore, found: Sequence[Candidate], road: str, own: bool = False
) -> set[str]:
    """Spools alerts; returns the channels that have to tell them. The log has them in any case."""
    if not found:
        return set()
    try:
        return await spool.add(found, road, own)
    except SpoolUnusableError as error:
        log.critical("sin alert_db, y nadie más lo cuenta: %s", error)
    for candidate in found:
        said = candidate.words.say()
        about = redact_text(single_line(f"{said.title} — {said.message}"[:_SHOWN]))
        log.critical("ALERTA sin guardar [%s] %s", candidate.severity.label.upper(), about)
    return set()


class LookAhead(Generic[P]):
    """Finds what is urgent in one source, and leaves its position alone.

    Only the instance that read the source last does: the others know neither how far it came, nor
    what it told.

    Args:
        reader: of its own, and not the pipeline's, which may be waiting for an answer with events
            in hand. It begins with what is new, where nobody knows how far reading came.
    """

    def __init__(
        self, reader: Reader[P], pipeline: Pipeline[P], foresight: Foresight, spool: AheadStore
    ) -> None:
        self.source = pipeline.source
        self._reader = reader
        self._pipeline = pipeline
        self._foresight = foresight
        self._spool = spool
        self._position: P | None = None
        self._saved: StoredPosition | None = None
        self._saved_at = float("-inf")

    @property
    def stands_by(self) -> bool:
        """True where another instance reads the source."""
        return self._pipeline.standby

    async def look(self) -> set[str]:
        """Spools what is urgent among what is new; returns the channels that have to tell it.

        Raises:
            NotNowError: the source does not answer.
        """
        if self.stands_by:
            return set()
        channels: set[str] = set()
        position = self._position or await self._begin()
        for _ in range(_BATCHES):
            fetched = await self._reader.fetch(position)
            found = await self._foresight.urgent(fetched.events)
            channels |= await spooled(self._spool, found, self.source)
            # Not before it is spooled: a fault on the way there means another try.
            self._position = position = fetched.position
            if not fetched.more:
                break
        return channels

    async def stand_back(self) -> None:
        """Leaves the source to its pipeline; looks, now and then, how far that came."""
        self._position = None
        if time.monotonic() - self._saved_at < SAVE_INTERVAL:
            return
        self._saved_at = time.monotonic()
        position = None if self._pipeline.position is None else self._pipeline.position.to_json()
        try:
            if position is not None and position != self._saved:
                await self._spool.save_position(self.source, position)
            elif self.stands_by and self._saved is not None:
                await self._spool.forget_position(self.source)
        except NotNowError as error:
            log.error("%s", error)
        self._saved = position

    def emptied_since(self, moment: float) -> bool:
        """Says whether the pipeline has stored all that there was after a moment (monotonic)."""
        return self._pipeline.emptied_at > moment

    async def _begin(self) -> P:
        if self._pipeline.position is not None:
            return self._pipeline.position
        stored = await self._spool.position(self.source)
        if stored is not None:
            return self._reader.decode(stored)
        return await self._reader.first_position()
