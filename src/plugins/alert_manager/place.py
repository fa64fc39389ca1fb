"""Whether this instance is the one that reads a source, and where in it it stands."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Generic

from .domain.backlog import Backlog
from .domain.errors import NotNowError, StaleReaderError
from .domain.model import P
from .ports import Moved, Reader, Store, StoredPosition

log = logging.getLogger("corec.alert_manager.place")

CONFIRM_INTERVAL = 5.0  # seconds between a leader's signs of life while nothing is committed
KEEP_INTERVAL = 1.0  # seconds between two that say how far it is, while it reads all the same
COURTESY = 5.0  # seconds after a failure in which who read last may go on first
_BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class Held(Generic[P]):
    """Where we stand.

    Attributes:
        position: how far the source is read.
        version: of the stored position, for the next commit to replace.
        backlog: old events that were stored since the last digest.
    """

    position: P
    version: int
    backlog: Backlog


class Place(Generic[P]):
    """The lead over a source and the position in it; belongs to one task at a time.

    The lead is an advisory lock in alert_db: it goes with the connection, and another instance
    takes it over.
    """

    def __init__(self, reader: Reader[P], store: Store) -> None:
        self._source = reader.source
        self._reader = reader
        self._store = store
        self._held: Held[P] | None = None
        self._confirmed_at = 0.0
        self._failed_at = float("-inf")
        self._caught_up: float | None = None
        self._has_read = False  # on from what is stored
        self.last: P | None = None
        """Where we last stood; alert_db may have stored a place from which nothing came since."""
        self.standby = False
        """True where another instance led when we last asked."""
        self.leader: tuple[str, float] | None = None
        """Who reads instead of us, and seconds since its last sign of life; None: nobody yet."""

    @property
    def held(self) -> Held[P] | None:
        """Where we stand; None while another instance reads."""
        return self._held

    def standing(self) -> Held[P]:
        """Returns where we stand.

        Raises:
            LookupError: another instance reads; who asks has not held the place.
        """
        if self._held is None:
            raise LookupError(f"this instance does not read {self._source}")
        return self._held

    async def hold(self) -> bool:
        """Says whether we are the reader, having taken the lead where it was free.

        Raises:
            NotNowError: a database does not answer, or the source cannot be read here.
        """
        if self._held is not None and not self._store.leads(self._source):
            self._held = None
        if self._held is None:
            # Who cannot read must not keep those from it who can.
            await self._reader.check()
            await self._store.prepare()
            if not await self._is_anothers() and await self._store.take_lead(self._source):
                self._held = await self._load()
                self.standby = False
                log.info("esta instancia lee %s", self._source)
            else:
                self.standby, self.last = True, None
                self.leader = await self._store.last_sign(self._source)
        return self._held is not None

    def move(self, position: P, backlog: Backlog) -> Moved:
        """Returns what the next commit has to store to go on from there."""
        stored: StoredPosition = position.to_json()
        if backlog:
            stored = {**stored, _BACKLOG: backlog.to_json()}
        return Moved(self._source, stored, self.standing().version, self._caught_up)

    def caught_up(self, moment: float) -> None:
        """Hears that everything in the source up to a moment (epoch seconds) is judged."""
        self._caught_up = moment

    def moved(self, position: P, backlog: Backlog) -> None:
        """Goes on from there: a commit has stored it."""
        self.last = position
        self._held = Held(position, self.standing().version + 1, backlog)
        self._stored()

    async def looked(self, position: P) -> None:
        """Goes on from there: nothing was found, so that nothing has to be stored.

        Raises:
            NotNowError: alert_db does not answer.
        """
        if not await self._goes_on(position):
            self._held = await self._load()

    async def passed(self, position: P) -> None:
        """Goes on from there: what was read up to it comes to nothing.

        Raises:
            StaleReaderError: the stored place is not ours: what is left of the batch in hand
                follows another one.
            NotNowError: alert_db does not answer.
        """
        self._has_read = True
        if not await self._goes_on(position):
            raise StaleReaderError(f"otra instancia lee ya {self._source}")

    async def _goes_on(self, position: P) -> bool:
        """Leaves a sign of life now and then; False where the stored position is not ours.

        A server that crashed may have forgotten its newest commits (synchronous_commit = off), and
        another instance may have read on while our connection was cut.
        """
        held = self.standing()
        self.last = position
        self._held = Held(position, held.version, held.backlog)
        interval = KEEP_INTERVAL if self._has_read else CONFIRM_INTERVAL
        if time.monotonic() - self._confirmed_at < interval:
            return True
        self._stored()
        return await self._store.confirm(self.move(position, held.backlog))

    async def keep(self) -> None:
        """Stores how far we read, so that nobody judges it again by another configuration."""
        held = self._held
        if held is not None and self._has_read:
            with contextlib.suppress(NotNowError):
                await self._store.confirm(self.move(held.position, held.backlog))

    async def leave(self) -> None:
        """Gives the lead up: what was stored, and who leads now, alert_db knows."""
        self._held = None
        self._caught_up = None
        self._failed_at = time.monotonic()
        with contextlib.suppress(NotNowError):
            await self._store.release_lead(self._source)

    def _stored(self) -> None:
        self._confirmed_at, self._has_read = time.monotonic(), False

    async def _is_anothers(self) -> bool:
        """Says whether somebody else goes first after a failure.

        Who read last may have told people without alert_db, and is to say so before others do.
        """
        # Who slept while alert_db was away knows it only by what failed for another source.
        if time.monotonic() - max(self._failed_at, self._store.failed_at) > COURTESY:
            return False
        last = await self._store.last_sign(self._source)
        return last is not None and last[0] != self._store.instance

    async def _load(self) -> Held[P]:
        stored = await self._store.load_position(self._source)
        if stored is None:
            first = await self._reader.first_position()
            await self._store.create_position(self._source, first.to_json())
            stored = await self._store.load_position(self._source)
        if stored is None:
            raise LookupError("reader_positions lost the row that was just made")
        self._stored()
        position, version = stored
        backlog = Backlog.from_json(position.get(_BACKLOG, {}))
        self.last = self._reader.decode(position)
        return Held(self.last, version, backlog)
