"""One batch at a time: fetch -> judge -> commit. Nothing is told before it is committed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .domain.errors import DatabaseUnavailableError, RefusedError, StaleReaderError
from .domain.holes import Position
from .domain.model import Candidate, Committed, DeadLetter, Judged, RawEvent
from .judge import BatchJudge, dead_letter
from .metrics import Metrics
from .ports import Cache, Reader, Store

log = logging.getLogger("corec.alert_manager.pipeline")

SOURCE = "eventos"
_CHECK_INTERVAL = 5.0  # seconds
_MAX_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Summary:
    """What one or more batches came to; counts."""

    events: int = 0
    alerts: int = 0
    repeats: int = 0
    dead_letters: int = 0

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.events + other.events,
            self.alerts + other.alerts,
            self.repeats + other.repeats,
            self.dead_letters + other.dead_letters,
        )


class Pipeline:
    """Takes events from `eventos`, or from the host's hand, to committed alerts.

    Entity, mirror and the reader's own loop may call at once: batches are taken one by one.
    """

    def __init__(
        self,
        reader: Reader,
        store: Store,
        cache: Cache,
        judge: BatchJudge,
        metrics: Metrics,
        on_alerts: Callable[[Iterable[str]], None],
    ) -> None:
        self._reader = reader
        self._store = store
        self._cache = cache
        self._judge = judge
        self._metrics = metrics
        self._on_alerts = on_alerts
        self._lock = asyncio.Lock()
        self._place: tuple[Position, int] | None = None
        self._checked_at = 0.0

    @property
    def leading(self) -> bool:
        """True while this instance is the one that reads `eventos`."""
        return self._place is not None

    async def drain(self) -> Summary:
        """Judges what is visible in `eventos`; nothing where another instance leads.

        It ends after a number of batches even while writers are faster, so that nobody who waits
        for it waits for ever: what is left is taken at the next call.

        Raises:
            DatabaseUnavailableError: one of the databases does not answer; nothing is lost.
        """
        total = Summary()
        self._reader.wake()
        async with self._lock:
            if not await self._lead():
                return total
            try:
                for _ in range(_MAX_BATCHES):
                    summary, more = await self._batch()
                    total += summary
                    if not more:
                        break
            except (StaleReaderError, DatabaseUnavailableError):
                # What was stored, and whether we still lead, alert_db knows: ask it again.
                self._place = None
                raise
        return total

    async def take_place(self) -> None:
        """Takes the lead if it is free, and settles where reading begins.

        Raises:
            DatabaseUnavailableError: one of the databases does not answer.
        """
        async with self._lock:
            await self._lead()

    async def push(self, raw: RawEvent) -> Summary:
        """Judges one event that the host handed over.

        Raises:
            DatabaseUnavailableError: alert_db does not answer; the event was not stored.
        """
        async with self._lock:
            judged = await asyncio.to_thread(self._judge.judge, [raw], time.time())
            return await self._commit(judged, None)

    async def sleep(self, seconds: float) -> None:
        """Waits until there may be something new in `eventos`.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        place = self._place
        if place is None:
            await asyncio.sleep(seconds)
            return
        try:
            await self._reader.sleep(place[0], seconds)
        except DatabaseUnavailableError:
            self._place = None
            raise

    async def _lead(self) -> bool:
        """Says whether we are the reader, having taken the lead where it was free."""
        if self._place is not None and not await self._still_there(self._place[1]):
            self._place = None
        if self._place is None and await self._store.take_lead(SOURCE):
            self._place = await self._load()
            self._checked_at = time.monotonic()
            log.info("esta instancia lee eventos desde el id %d", self._place[0].hi)
        self._metrics.leading.set(int(self._place is not None))
        return self._place is not None

    async def _still_there(self, version: int) -> bool:
        """Checks our lead and, now and then, that alert_db still has the position we go on from.

        A server that crashed may have forgotten its newest commits (synchronous_commit = off), and
        another instance may have read on while our connection was cut.
        """
        if not self._store.leads(SOURCE):
            return False
        if time.monotonic() - self._checked_at < _CHECK_INTERVAL:
            return True
        self._checked_at = time.monotonic()
        stored = await self._store.load_position(SOURCE)
        return stored is not None and stored[1] == version

    async def _load(self) -> tuple[Position, int]:
        place = await self._store.load_position(SOURCE)
        if place is None:
            await self._store.create_position(SOURCE, await self._reader.first_position())
            place = await self._store.load_position(SOURCE)
        if place is None:
            raise LookupError("reader_positions lost the row that was just made")
        return place

    async def _batch(self) -> tuple[Summary, bool]:
        """Takes one batch; returns what it came to, and whether more is waiting."""
        if self._place is None:
            raise LookupError("a batch needs a position")
        position, version = self._place
        fetched = await self._reader.fetch(position)
        if not fetched.events:
            # Only what we know of holes changed; it goes into the next commit.
            self._place = (fetched.position, version)
            return Summary(), False
        moved = (SOURCE, fetched.position, version)
        judged = await asyncio.to_thread(self._judge.judge, fetched.events, time.time())
        try:
            summary = await self._commit(judged, moved)
        except RefusedError as error:
            log.error("alert_db rechazó un lote, se separa lo que no admite: %s", error)
            judged = await self._without_refused(fetched.events)
            summary = await self._commit(judged, moved)
        self._place = (fetched.position, version + 1)
        self._metrics.events.labels(SOURCE).inc(summary.events)
        self._metrics.position.set(fetched.position.hi)
        self._metrics.holes.set(len(fetched.position.holes))
        return summary, fetched.more

    async def _without_refused(self, events: Sequence[RawEvent]) -> Judged:
        """Judges events one by one; what alert_db refuses becomes a dead letter."""
        candidates: list[Candidate] = []
        dead: list[DeadLetter] = []
        for raw in events:
            judged = await asyncio.to_thread(self._judge.judge, [raw], time.time())
            dead.extend(judged.dead_letters)
            refusal = await self._store.refusal(judged) if judged.candidates else None
            if refusal is None:
                candidates.extend(judged.candidates)
            else:
                dead.append(dead_letter(raw, f"alert_db no lo admite: {refusal}", time.time()))
        return Judged(len(events), tuple(candidates), tuple(dead))

    async def _commit(self, judged: Judged, moved: tuple[str, Position, int] | None) -> Summary:
        cached = await self._cache.look_up(judged.candidates)
        committed = await self._store.commit(judged, moved, cached)
        await self._cache.remember(judged.candidates, committed)
        self._count(judged, committed)
        if committed.alerts:
            self._on_alerts({n for i in committed.alerts for n in judged.candidates[i].targets})
        return Summary(
            judged.events, len(committed.alerts), committed.repeats, committed.dead_letters
        )

    def _count(self, judged: Judged, committed: Committed) -> None:
        now = time.time()
        for index in committed.alerts:
            candidate = judged.candidates[index]
            self._metrics.alerts.labels(candidate.severity.key, candidate.rule).inc()
            self._metrics.event_to_alert.observe(max(0.0, now - candidate.timestamp))
        self._metrics.repeats.inc(committed.repeats)
        for letter in judged.dead_letters:
            self._metrics.dead_letters.labels(letter.source).inc()
            log.warning(
                "evento ilegible en %s (id %s): %s", letter.channel, letter.event_id, letter.reason
            )
