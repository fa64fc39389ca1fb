"""One source: fetch -> judge -> commit, batch after batch; the next two are begun meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Generic

from .absences import Absences
from .domain.backlog import Backlog
from .domain.errors import DatabaseUnavailableError, StaleStateError, TooSlowError
from .domain.model import Fetched, P, RawEvent
from .domain.outcome import Judged, Summary
from .metrics import Metrics
from .old_events import OldEvents
from .own_alerts import OwnAlerts
from .place import Place
from .ports import Reader, Store
from .prefetch import Prefetch
from .recorder import Recorder

log = logging.getLogger("corec.alert_manager.pipeline")

_MAX_BATCHES = 20
_MAX_EVENTS = 20_000  # in one commit


class Pipeline(Generic[P]):
    """Takes a source's events to committed alerts.

    Entity, mirror and the reader's own loop may call at once: batches are taken one by one.
    """

    def __init__(
        self,
        reader: Reader[P],
        store: Store,
        recorder: Recorder,
        own_alerts: OwnAlerts,
        old_events: OldEvents,
        metrics: Metrics,
        absences: Absences | None = None,
    ) -> None:
        self.source = reader.source
        self._reader = reader
        self._recorder = recorder
        self._own_alerts = own_alerts
        self._old_events = old_events
        self._metrics = metrics
        self._absences = absences
        self._lock = asyncio.Lock()
        self._place = Place(reader, store)
        self._batches = Prefetch(reader, recorder)
        self._woken = asyncio.Event()
        self._asleep = False
        self._limit = _MAX_EVENTS
        self._emptied_at = 0.0  # or since when we read
        self._has_emptied = False
        self._is_empty = False
        self._caught_up_at = time.monotonic()

    @property
    def lag(self) -> float:
        """Seconds since all that was there was judged; 0 where another instance reads.

        It goes on growing while the source, or alert_db, does not answer.
        """
        if self._asleep or self.standby:  # who sleeps has judged all there is
            return 0.0
        return time.monotonic() - self._caught_up_at

    @property
    def behind(self) -> float:
        """Seconds since the last time that nothing was left to be read; 0 while another reads."""
        return time.monotonic() - self._emptied_at if self.leading else 0.0

    @property
    def emptied_at(self) -> float:
        """When nothing was left to be read for the last time (monotonic)."""
        return self._emptied_at if self._has_emptied else float("-inf")

    @property
    def has_emptied(self) -> bool:
        """True where this instance reads, and nothing was left to be read at least once."""
        return self.leading and self._has_emptied

    @property
    def position(self) -> P | None:
        """Where reading last stood, also while alert_db is away; None where we never read."""
        return self._place.last

    @property
    def standby(self) -> bool:
        """True where another instance read when we last asked."""
        return self._place.standby

    @property
    def leading(self) -> bool:
        """True while this instance is the one that reads the source."""
        return self._place.held is not None

    @property
    def leader(self) -> tuple[str, float] | None:
        """Which instance reads while we do not, and seconds since its last sign of life."""
        return self._place.leader

    async def drain(self) -> Summary:
        """Judges what is visible in the source; nothing where another instance leads.

        It ends after a number of batches, that nobody waits for ever where writers are faster.

        Raises:
            NotNowError: a database does not answer, is too slow or unusable; nothing is lost.
        """
        total = Summary()
        self.wake()
        async with self._alone():
            if await self._hold():
                for left in reversed(range(_MAX_BATCHES)):
                    began = time.perf_counter()
                    summary, more = await self._batch(left)
                    if summary.events:
                        self._metrics.batch(self.source, time.perf_counter() - began)
                    self._emptied(not more)
                    total += summary
                    if not more:
                        break
        return total

    async def take_place(self) -> None:
        """Takes the lead if it is free, and settles where reading begins.

        Raises:
            NotNowError: a database does not answer, or a person has to mend it.
        """
        async with self._alone():
            await self._hold()

    async def keep(self) -> None:
        """Stores the place, at an end."""
        async with self._lock:
            await self._place.keep()

    async def sleep(self, seconds: float) -> None:
        """Waits until there may be something new in the source, or until `wake`.

        Raises:
            NotNowError: the source does not answer.
        """
        held = self._place.held
        if held is not None:
            self._asleep = True
            try:
                await self._reader.sleep(held.position, seconds)
            finally:
                self._asleep = False
            self._emptied(self._is_empty)  # until now there was nothing to be judged
            return
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def wake(self) -> None:
        """Ends a sleep at once."""
        self._woken.set()
        if self._asleep:  # else the next sleep would end at once, and so would all that follow
            self._reader.wake()

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One caller at a time, which gives the lead up when it fails."""
        async with self._lock:
            try:
                try:
                    yield
                finally:
                    await self._batches.drop()
            except Exception:
                await self._place.leave()  # what was stored, and who leads, alert_db knows
                raise

    async def _hold(self) -> bool:
        led, stood_by = self.leading, self.standby
        holds = await self._place.hold()
        if holds and not led:
            self._emptied_at, self._has_emptied = time.monotonic(), False
            self._recorder.unsettled()
            self._emptied(stood_by)  # else it is we who have not read it since
        return holds

    def _emptied(self, is_empty: bool) -> None:
        """Notes whether all that is there is judged."""
        self._is_empty = is_empty
        self._caught_up_at = time.monotonic() if is_empty else self._caught_up_at

    async def _batch(self, left: int) -> tuple[Summary, bool]:
        """Takes one batch, which at most `left` follow at once.

        Returns what it came to, and whether more is waiting.
        """
        held = self._place.standing()
        looked_at, fetched, judged = await self._batches.next(held.position)
        if fetched.anew is not None:
            return await self._begin_anew(fetched, fetched.anew), True
        if not fetched.events:
            if held.backlog:
                await self._tell_backlog(fetched.position)
            self._emptied_at, self._has_emptied = time.monotonic(), True
            # Only what is known of holes changed; it goes into the next commit.
            self._place.caught_up(min(looked_at, fetched.settled))
            await self._place.looked(fetched.position)
            return await self._tell_absences(), False
        total = Summary()
        while total.events < len(fetched.events):
            total += await self._part(held.position, fetched, total.events, judged, left)
            judged = None
        if not fetched.more:
            if held.backlog and held.backlog == self._place.standing().backlog:
                await self._tell_backlog(self._place.standing().position)
            self._emptied_at, self._has_emptied = time.monotonic(), True
            self._place.caught_up(min(looked_at, fetched.settled))
            total += await self._tell_absences()
        return total, fetched.more

    async def _tell_absences(self) -> Summary:
        """Tells of events that did not come, now that everything is judged that did."""
        if self._absences is None:
            return Summary()
        total = Summary()
        with contextlib.suppress(StaleStateError):  # one came just now
            async for missing in self._absences.look():
                # However long ago it began, it is absent now: no old event.
                held = self._place.standing()
                total += await self._commit((), missing, held.position, held.backlog)
        return total

    async def _part(
        self, before: P, fetched: Fetched[P], taken: int, judged: Judged | None, left: int
    ) -> Summary:
        """Commits as much of a batch as the judge and alert_db take in one go.

        Args:
            before: the position before the batch.
            fetched: the batch.
            taken: how many of its events were committed.
            judged: what the next ones came to by themselves; None: they are not judged yet.
            left: how many batches are taken right after this one, at the most.
        """
        events = fetched.events[taken:]
        if judged is None or judged.events > self._limit:  # which may be lower by now
            judged = await self._recorder.look_at(events[: self._limit])
        judged = await self._recorder.judge_on(judged, self.source)
        events = events[: judged.events]
        end = taken + len(events)
        position = fetched.position
        if end < len(fetched.events):
            position = self._reader.part(before, fetched, end)
        elif fetched.more and left:
            self._batches.begin(position, self._limit, left)
        judged, old = self._old_events.quieten(judged, time.time())
        backlog = self._place.standing().backlog.plus(old)
        try:
            summary = await self._commit(events, judged, position, backlog)
        except StaleStateError:
            return Summary()  # judged once more, with what is remembered now
        except (TooSlowError, DatabaseUnavailableError) as error:
            # Too much at once may be the reason: the same again would fail the same way for ever.
            self._limit = max(1, len(events) // 2)
            if len(events) == 1 or not isinstance(error, TooSlowError):
                raise
            log.warning("alert_db es lenta (%s): lotes de %d eventos", error, self._limit)
            return Summary()
        self._limit = min(_MAX_EVENTS, self._limit + max(1, self._limit // 8))
        await self._reader.committed(position)
        self._metrics.read(self.source, summary.events)
        return summary

    async def _commit(
        self, events: Sequence[RawEvent], judged: Judged, position: P, backlog: Backlog
    ) -> Summary:
        """Commits what events came to together with the place behind them, and goes on there.

        Where that is nothing, as in half of all batches, the place alone is stored, now and then.
        """
        # While commits fail, every batch tries one: nothing else would tell that they work again.
        if judged.is_nothing and self._reader.reads_ahead and self._recorder.storing.works:
            summary = await self._recorder.pass_over(events, judged)
            with self._recorder.storing.trying():
                await self._place.passed(position)
            return summary
        moved = self._place.move(position, backlog)
        summary = await self._recorder.record(events, judged, moved)
        self._place.moved(position, backlog)
        return summary

    async def _tell_backlog(self, position: P) -> None:
        """Tells once what was stored without telling each, when the backlog is behind us."""
        digest = self._own_alerts.backlog(self._place.standing().backlog, time.time())
        await self._commit((), Judged(0, (digest,)), position, Backlog())

    async def _begin_anew(self, fetched: Fetched[P], what: str) -> Summary:
        """Moves to where reading begins in an emptied or restored source, and tells people."""
        log.error("una fuente se vació o se restauró: %s", what)
        alarm = self._own_alerts.begun_anew(what, time.time())
        backlog = self._place.standing().backlog
        return await self._commit((), Judged(0, (alarm,)), fetched.position, backlog)
