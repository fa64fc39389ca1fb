"""Fetch -> judge -> commit, one batch at a time. Nothing is told before it is committed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from .domain.errors import (
    AlreadyStoredError,
    DatabaseUnavailableError,
    NotNowError,
    RefusedError,
    TooSlowError,
)
from .domain.holes import Position, after_read
from .domain.model import Candidate, Committed, Fetched, Judged, RawEvent
from .judge import BatchJudge, dead_letter
from .metrics import Metrics
from .own_alerts import OwnAlerts
from .place import Place
from .ports import Cache, Reader, Store

log = logging.getLogger("corec.alert_manager.pipeline")

SOURCE = "eventos"
_MAX_BATCHES = 20
_MAX_EVENTS = 20_000  # in one commit


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
        own_alerts: OwnAlerts,
        metrics: Metrics,
        on_alerts: Callable[[Iterable[str]], None],
    ) -> None:
        self._reader = reader
        self._store = store
        self._cache = cache
        self._judge = judge
        self._own_alerts = own_alerts
        self._metrics = metrics
        self._on_alerts = on_alerts
        self._lock = asyncio.Lock()
        self._place = Place(SOURCE, reader, store)
        self._woken = asyncio.Event()
        self._limit = _MAX_EVENTS
        # One thread: a judgement whose caller was cancelled still has the decoder in its hands.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")

    @property
    def leading(self) -> bool:
        """True while this instance is the one that reads `eventos`."""
        return self._place.held is not None

    @property
    def leader(self) -> tuple[str, float] | None:
        """Which instance reads while we do not, and seconds since its last sign of life."""
        return self._place.leader

    async def drain(self) -> Summary:
        """Judges what is visible in `eventos`; nothing where another instance leads.

        It ends after a number of batches even while writers are faster, so that nobody who waits
        for it waits for ever: what is left is taken at the next call.

        Raises:
            NotNowError: a database does not answer, is too slow or unusable; nothing is lost.
        """
        total = Summary()
        self.wake()
        async with self._lock:
            try:
                if await self._hold():
                    for _ in range(_MAX_BATCHES):
                        summary, more = await self._batch()
                        total += summary
                        if not more:
                            break
            except NotNowError:
                await self._place.leave()
                self._metrics.leading.set(0)
                raise
        return total

    async def take_place(self) -> None:
        """Takes the lead if it is free, and settles where reading begins.

        Raises:
            NotNowError: a database does not answer, or a person has to mend it.
        """
        async with self._lock:
            await self._hold()

    async def push(self, raw: RawEvent) -> Summary:
        """Judges one event that the host handed over.

        Raises:
            NotNowError: alert_db does not answer; the event was not stored.
        """
        async with self._lock:
            judged = await self._judged([raw])
            return await self._store_judged([raw], judged, None)

    async def sleep(self, seconds: float) -> None:
        """Waits until there may be something new in `eventos`, or until `wake`.

        Raises:
            DatabaseUnavailableError: corec_db does not answer.
        """
        held = self._place.held
        if held is not None:
            await self._reader.sleep(held[0], seconds)
            return
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def wake(self) -> None:
        """Ends a sleep at once."""
        self._woken.set()
        self._reader.wake()

    def close(self) -> None:
        """Takes no more events."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _hold(self) -> bool:
        holds = await self._place.hold()
        self._metrics.leading.set(int(holds))
        return holds

    async def _batch(self) -> tuple[Summary, bool]:
        """Takes one batch; returns what it came to, and whether more is waiting."""
        if self._place.held is None:
            raise LookupError("a batch needs a position")
        position, version = self._place.held
        fetched = await self._reader.fetch(position)
        if fetched.truncated_at is not None:
            return await self._begin_anew(fetched, version), True
        if not fetched.events:
            # Only what we know of holes changed; it goes into the next commit.
            self._place.moved(fetched.position, stored=False)
            await self._place.confirm()
            return Summary(), False
        total, taken = Summary(), 0
        while taken < len(fetched.events):
            total += await self._part(position, fetched, taken)
            taken = total.events
        self._metrics.position.set(fetched.position.hi)
        self._metrics.holes.set(len(fetched.position.holes))
        return total, fetched.more

    async def _part(self, before: Position, fetched: Fetched, taken: int) -> Summary:
        """Commits as much of a batch as the judge and alert_db take in one go."""
        if self._place.held is None:
            raise LookupError("a batch needs a position")
        events = fetched.events[taken:]
        judged = await self._judged(events[: self._limit])
        events = events[: judged.events]
        end = taken + len(events)
        position = fetched.position
        if end < len(fetched.events):
            ids = [e.event_id for e in fetched.events[:end] if e.event_id is not None]
            position = after_read(before, ids, fetched.position.seen, complete=False)
        moved = (SOURCE, position, self._place.held[1])
        try:
            summary = await self._store_judged(events, judged, moved)
        except (TooSlowError, DatabaseUnavailableError) as error:
            # Too much at once may be the reason: the same again would fail the same way for ever.
            self._limit = max(1, len(events) // 2)
            if len(events) == 1 or not isinstance(error, TooSlowError):
                raise
            log.warning("alert_db es lenta (%s): lotes de %d eventos", error, self._limit)
            return Summary()
        self._limit = min(_MAX_EVENTS, self._limit + max(1, self._limit // 8))
        self._place.moved(position, stored=True)
        self._metrics.events.labels(SOURCE).inc(summary.events)
        return summary

    async def _begin_anew(self, fetched: Fetched, version: int) -> Summary:
        """Moves to where reading begins in an emptied or restored table, and tells people."""
        last, first = fetched.truncated_at or 0, fetched.position.hi + 1
        log.error(
            "eventos se vació o se restauró: se leyó hasta el id %d, ahora desde %d", last, first
        )
        alarm = self._own_alerts.truncated(last, first, time.time())
        summary = await self._commit(Judged(0, (alarm,)), (SOURCE, fetched.position, version))
        self._place.moved(fetched.position, stored=True)
        return summary

    async def _judged(self, events: Sequence[RawEvent]) -> Judged:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._judge.judge, events, time.time())

    async def _store_judged(
        self, events: Sequence[RawEvent], judged: Judged, moved: tuple[str, Position, int] | None
    ) -> Summary:
        try:
            return await self._commit(judged, moved)
        except RefusedError as error:
            log.error("alert_db rechazó un lote, se separa lo que no admite: %s", error)
            return await self._commit(await self._without_refused(events, judged), moved)

    async def _without_refused(self, events: Sequence[RawEvent], judged: Judged) -> Judged:
        """Tries candidates one by one; what alert_db refuses becomes a dead letter of its event."""
        by_id = {(raw.source, raw.event_id): raw for raw in events}
        candidates: list[Candidate] = []
        dead = list(judged.dead_letters)
        for candidate in judged.candidates:
            refusal = await self._store.refusal(replace(judged, candidates=(candidate,)))
            if refusal is None:
                candidates.append(candidate)
            elif not isinstance(refusal, AlreadyStoredError):
                raw = by_id[candidate.source, candidate.event_id]
                reason = f"alert_db no lo admite: {refusal}"
                dead.append(dead_letter(raw, reason, candidate.timestamp))
        return Judged(judged.events, tuple(candidates), tuple(dead))

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
