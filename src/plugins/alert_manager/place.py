"""Whether this instance is the one that reads a source, and where in it it stands."""

from __future__ import annotations

import contextlib
import logging
import time

from .domain.errors import NotNowError
from .domain.holes import Position
from .ports import Reader, Store

log = logging.getLogger("corec.alert_manager.place")

CONFIRM_INTERVAL = 5.0  # seconds between a leader's signs of life while nothing is committed


class Place:
    """The lead over a source and the position in it; belongs to one task at a time.

    The lead is an advisory lock in alert_db: it goes with the connection, and another instance
    takes it over.
    """

    def __init__(self, source: str, reader: Reader, store: Store) -> None:
        self._source = source
        self._reader = reader
        self._store = store
        self._held: tuple[Position, int] | None = None
        self._confirmed_at = 0.0
        self.leader: tuple[str, float] | None = None
        """Who reads instead of us, and seconds since its last sign of life; None: nobody yet."""

    @property
    def held(self) -> tuple[Position, int] | None:
        """The position and its version; None while another instance reads."""
        return self._held

    async def hold(self) -> bool:
        """Says whether we are the reader, having taken the lead where it was free.

        Raises:
            NotNowError: a database does not answer, or `eventos` cannot be read here.
        """
        if self._held is not None and not self._store.leads(self._source):
            self._held = None
        if self._held is None:
            # Who cannot read must not keep those from it who can.
            await self._reader.check()
            if await self._store.take_lead(self._source):
                self._held = await self._load()
                log.info("esta instancia lee %s desde el id %d", self._source, self._held[0].hi)
            else:
                self.leader = await self._store.last_sign(self._source)
        return self._held is not None

    def moved(self, position: Position, stored: bool) -> None:
        """Goes on from here; `stored` says that a commit has put this position into alert_db."""
        if self._held is None:
            raise LookupError("nobody moves without a place")
        self._held = (position, self._held[1] + stored)
        if stored:
            self._confirmed_at = time.monotonic()

    async def confirm(self) -> None:
        """Leaves a sign of life now and then, and checks that the position is still ours.

        A server that crashed may have forgotten its newest commits (synchronous_commit = off), and
        another instance may have read on while our connection was cut.

        Raises:
            NotNowError: alert_db does not answer.
        """
        if self._held is None or time.monotonic() - self._confirmed_at < CONFIRM_INTERVAL:
            return
        self._confirmed_at = time.monotonic()
        if not await self._store.confirm(self._source, self._held[1]):
            self._held = await self._load()

    async def leave(self) -> None:
        """Gives the lead up: what was stored, and who leads now, alert_db knows."""
        self._held = None
        with contextlib.suppress(NotNowError):
            await self._store.release_lead(self._source)

    async def _load(self) -> tuple[Position, int]:
        place = await self._store.load_position(self._source)
        if place is None:
            await self._store.create_position(self._source, await self._reader.first_position())
            place = await self._store.load_position(self._source)
        if place is None:
            raise LookupError("reader_positions lost the row that was just made")
        self._confirmed_at = time.monotonic()
        return place
