"""While alert_db does not answer: people are told of what is urgent, and it is stored later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from .domain.errors import DatabaseUnavailableError, NotNowError
from .domain.model import RawEvent
from .domain.outcome import Candidate, Judged, Resolution
from .faults import log_fault
from .foresight import Foresight
from .look_ahead import LookAhead, spooled
from .own_alerts import OwnAlerts
from .ports import AheadStore, AlertDb
from .recorder import Recorder
from .tasks import end_task
from .untold import Untold

log = logging.getLogger("corec.alert_manager.degraded")

_TURN = 0.5  # seconds
_STOP = 3.0  # seconds that what is under way may still take
_SUSPICIOUS = 1.5  # seconds without an answer after which alert_db is asked whether it is there
_PROBE = 2.5  # seconds that it has for the answer
_FAILING = 5.0  # seconds in which it answers and takes no commit
_TRY = 10.0  # seconds between tries whether it does, should no source bring anything
_TELL_AFTER = 5.0  # seconds after which people hear that it is away
_OWN = "own"
_PUSHED = "push"
_STORED = "stored"


class Degraded:
    """Watches alert_db, and looks ahead while it is away.

    What is spooled is told by the channels' workers. Afterwards the sources bring the same events
    once more, to be stored; alert_db hears first whom they were told.
    """

    def __init__(
        self,
        alert_db: AlertDb,
        recorder: Recorder,
        spool: AheadStore,
        foresight: Foresight,
        untold: Untold,
        aheads: Sequence[LookAhead[Any]],
        own_alerts: OwnAlerts,
        wake: Callable[[Iterable[str] | None], None],
        hand_in: Callable[[], Awaitable[None]],
    ) -> None:
        """`wake` tells channels that they have something to tell; None: all of them."""
        self._alert_db = alert_db
        self._recorder = recorder
        self._spool = spool
        self._foresight = foresight
        self._untold = untold
        self._aheads = aheads
        self._own_alerts = own_alerts
        self._wake = wake
        self._hand_in = hand_in
        self._since: float | None = None
        self._away_at = 0.0  # the same, on a clock that nobody sets
        self._back_at = time.monotonic()
        self._told = False
        # Somebody may have been told before a start: that is over as soon as alert_db answers.
        self._ends = [own_alerts.alert_db_back(None, time.time())]
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._answers = True
        self._try_at = 0.0  # monotonic
        self._return: asyncio.Task[None] | None = None
        self._try: asyncio.Task[None] | None = None
        self._trouble = ""  # of the last try
        self._troubles: dict[str, str | None] = {}  # of the sources' looks; None: it works
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def looking(self) -> bool:
        """True while events are read, and people told, without alert_db."""
        return self.away and None in self._troubles.values()

    @property
    def ended(self) -> bool:
        """True where the watching ended by itself."""
        return self._task is not None and self._task.done() and not self._stopping.is_set()

    @property
    def away(self) -> bool:
        """True while alert_db stores nothing."""
        return self._since is not None

    async def start(self) -> None:
        """Takes up what an earlier run left, and begins to watch."""
        try:
            await self._spool.open()
        except NotNowError as error:
            log.error("%s", error)
        self._task = asyncio.create_task(self._run(), name="degraded")

    async def stop(self) -> None:
        """Ends the watching."""
        self._stopping.set()
        until = time.monotonic() + _STOP
        await end_task(self._task, _STOP)
        for task in (self._return, self._try):
            await end_task(task, max(0.0, until - time.monotonic()))
        await self._end_looks()

    async def tell(self, news: Candidate | Resolution) -> None:
        """Stores an alert of our own, or its end.

        While alert_db is away an alert is told, and stored later; so is an end, after it.

        Raises:
            NotNowError: neither is possible now.
        """
        try:
            await self._recorder.record((), _judged(news))
        except NotNowError:
            if not self.away:
                raise
            if isinstance(news, Resolution):
                self._ends.append(news)
            else:
                await self._tell_own(news)

    async def keep(self, event: RawEvent) -> None:
        """Keeps an event that the host handed over until alert_db is back; tells what is urgent.

        Raises:
            SpoolUnusableError: it could not be kept.
            TypeError: it holds what cannot be kept.
        """
        await self._spool.keep(event)
        found = await self._foresight.urgent([event])
        self._wake(await spooled(self._spool, found, _PUSHED))

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._turn()
            except NotNowError as error:
                log.warning("sin alert_db y con otro fallo: %s", error)
            except Exception as error:  # noqa: BLE001  (no fault of ours may end the watching)
                log_fault(log, "fallo inesperado sin alert_db", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TURN):
                    await self._stopping.wait()

    async def _turn(self) -> None:
        if not await self._is_away():
            await self._go_on_being_back()
            return
        await self._end_return()
        if self._since is None:
            self._since, self._away_at = time.time(), time.monotonic()
            self._try_at, self._trouble = self._away_at + _TRY, ""
            log.error("alert_db no responde: lo urgente se avisa ya, y se guardará cuando vuelva")
        # What alert_db had to tell, and did not come to.
        self._wake(await spooled(self._spool, self._untold.take(), _STORED))
        for ahead in self._aheads:
            look = self._looks.get(ahead.source)
            if look is None or look.done():  # a source that hangs keeps no other one waiting
                name = f"look-ahead-{ahead.source}"
                self._looks[ahead.source] = asyncio.create_task(self._look(ahead), name=name)
        if not self._told and time.monotonic() - self._away_at > _TELL_AFTER:
            self._told = True
            await self._tell_own(self._own_alerts.alert_db_away(self._since, time.time()))
        self._try_to_store()

    async def _look(self, ahead: LookAhead[Any]) -> None:
        trouble = None
        try:
            self._wake(await ahead.look())
        except NotNowError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001  (no fault of ours may end the looking)
            trouble = type(error).__name__
            log_fault(log, f"fallo inesperado al leer {ahead.source} sin alert_db", error)
        if trouble is not None and self._troubles.get(ahead.source) is None:
            log.warning("sin alert_db, tampoco se lee %s: %s", ahead.source, trouble)
        self._troubles[ahead.source] = trouble

    async def _end_looks(self) -> None:
        looks, self._looks = list(self._looks.values()), {}
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        self._troubles.clear()

    async def _is_away(self) -> bool:
        now = time.monotonic()
        silent = self._alert_db.unanswered_since
        if silent is not None and now - silent > _SUSPICIOUS:
            try:
                await self._alert_db.probe(_PROBE)
            except DatabaseUnavailableError:
                self._answers = False
                self._alert_db.refuse()
                return True
        self._answers = True
        self._alert_db.accept()
        failing = self._recorder.storing.failing_since
        if failing is None or now - failing <= _FAILING:
            return False
        # Where others read, nothing of ours is tried again, and what failed says nothing any more.
        return not all(ahead.stands_by for ahead in self._aheads)

    async def _go_on_being_back(self) -> None:
        """Does what is to be done now, in a task: should alert_db hang again, that is noticed."""
        if self._try is not None:  # both store what is kept
            await asyncio.wait({self._try}, timeout=_TURN)
            self._hear_of_try()
            return
        if self._return is None:
            self._return = asyncio.create_task(self._be_back(), name="alert-db-back")
        done, _ = await asyncio.wait({self._return}, timeout=_TURN)
        if done:
            ended, self._return = self._return, None
            ended.result()

    async def _end_return(self) -> None:
        ended, self._return = self._return, None
        if ended is not None:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    def _try_to_store(self) -> None:
        """Stores something kept, now and then, where alert_db answers and took nothing before.

        Sources try with all that they bring. Where they bring nothing, nothing else would tell
        that it takes commits again.
        """
        self._hear_of_try()
        if self._answers and self._try is None and time.monotonic() > self._try_at:
            self._try_at = time.monotonic() + _TRY
            self._try = asyncio.create_task(self._store_something(), name="alert-db-try")

    def _hear_of_try(self) -> None:
        if self._try is None or not self._try.done():
            return
        ended, self._try = self._try, None
        try:
            ended.result()
        except Exception as error:  # noqa: BLE001  (no fault of ours may end the watching)
            if type(error).__name__ != self._trouble:
                log_fault(log, "alert_db responde y no guarda nada", error)
            self._trouble = type(error).__name__

    async def _be_back(self) -> None:
        if self._since is not None:
            await self._end_looks()
            log.info("alert_db responde de nuevo: se guarda lo que ya se avisó")
            if self._told:
                self._ends.append(self._own_alerts.alert_db_back(self._since, time.time()))
            self._since, self._told = None, False
            self._back_at = time.monotonic()
            self._foresight.forget()
            self._wake(None)  # they were told to ask no more
        await self._hand_in()
        await self._spool.drop_waiting()
        await self._store_kept()
        while self._ends:  # after what they are the end of
            await self._recorder.record((), _judged(self._ends[0]))
            del self._ends[0]
        for ahead in self._aheads:
            await ahead.stand_back()
            if ahead.emptied_since(self._back_at):
                await self._spool.clear(ahead.source)

    async def _store_kept(self) -> None:
        """Stores what no source brings once more."""
        for event in await self._spool.events():
            await self._store_event(event)
        for number, alarm in await self._spool.own():
            await self._store_own(number, alarm)
        for road in (_PUSHED, _STORED, _OWN):
            await self._spool.clear(road)

    async def _store_something(self) -> None:
        """Stores the first of it; the rest can wait until we are back."""
        if own := await self._spool.own():
            await self._store_own(*own[0])
        elif events := await self._spool.events():
            await self._store_event(events[0])

    async def _store_event(self, event: RawEvent) -> None:
        await self._recorder.push(event)
        await self._spool.forget_event(event)

    async def _store_own(self, number: int, alarm: Candidate) -> None:
        await self._recorder.record((), _judged(alarm))
        await self._spool.forget_own(number)

    async def _tell_own(self, alarm: Candidate) -> None:
        self._wake(await spooled(self._spool, [alarm], _OWN, own=True))


def _judged(news: Candidate | Resolution) -> Judged:
    if isinstance(news, Resolution):
        return Judged(0, resolutions=(news,))
    return Judged(0, (news,))
