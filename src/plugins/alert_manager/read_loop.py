"""Keeps one source read: drains, sleeps, tries again, and tells people when it stays unread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import backoff

from .degraded import Degraded
from .domain.errors import DatabaseUnavailableError, NotNowError, SourceUnavailableError
from .domain.formats import duration
from .domain.model import P, Severity
from .domain.outcome import Summary
from .domain.redact import redact_text
from .faults import log_fault
from .health import Part
from .own_alerts import OwnAlerts
from .pipeline import Pipeline
from .self_watch import News, said
from .tasks import end_task

log = logging.getLogger("corec.alert_manager.reading")

_MUCH = 10  # events at one look: their writers are at full speed
_MANY = 1000  # at one look that was cut: more than that is left, and no trickle of a stream
_REST_FOR = 6  # times as long as that look took, the reader rests then
_BREATH = 0.2  # seconds of such a rest, at the most
_REST = 1.0  # seconds between tries while a database is away
_KEEP = 1.0  # seconds that the place may take to be stored at an end
# Seconds without an end of what is there to read after which others give way, and after which they
# do so no more: what they have to tell would be too old one day.
_FLOOD, _LONG_FLOOD = 0.3, 600.0
_STOP = 3.0  # seconds that a batch in hand may still take
SILENCE = 30.0  # seconds without a sign of life after which nobody seems to read
BEHIND = 60.0  # seconds without an end of what is there to read after which people are told
TELL_AFTER = 30.0  # seconds without reading after which people are told


class ReadLoop:
    """Reads one source until it is stopped; no failure ends it.

    Args:
        tick: the longest sleep between two looks, in seconds.
        optional: True for a source that may not be there at all: people are told of its loss only
            after it was there.
    """

    def __init__(
        self,
        pipeline: Pipeline[P],
        degraded: Degraded,
        own_alerts: OwnAlerts,
        tick: float,
        optional: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._degraded = degraded
        self._own_alerts = own_alerts
        self._tick = tick
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = "arrancando"
        self._since = time.time()
        self._well_at = time.monotonic()
        self._told = self._told_behind = self._ended = self._ended_behind = False
        self._silent = optional
        self.optional = optional
        self._summary = Summary()

    async def settle(self, seconds: float) -> None:
        """Settles where reading begins, if that is possible within `seconds`.

        A source that may not be there at all is asked once.
        """

        @backoff.on_exception(
            backoff.expo,
            (DatabaseUnavailableError, SourceUnavailableError),
            max_tries=1 if self.optional else None,
            max_value=2,
            logger=None,
        )
        async def settle() -> None:
            try:
                await self._pipeline.take_place()
            except NotNowError as error:
                self.note(str(error))
                raise
            self.note(None)

        with contextlib.suppress(TimeoutError, NotNowError):
            async with asyncio.timeout(seconds):
                await settle()

    def start(self) -> None:
        """Begins to read."""
        self._task = asyncio.create_task(self._run(), name=f"read-{self._pipeline.source}")

    async def stop(self) -> None:
        """Ends reading; a batch in hand may end by itself within 3 s."""
        self._stopping.set()
        self._pipeline.wake()
        await end_task(self._task, _STOP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KEEP):
                await self._pipeline.keep()

    async def drain(self) -> Summary:
        """Judges what is there now.

        Raises:
            NotNowError: a database does not answer, or a person has to mend it.
        """
        try:
            summary = await self._pipeline.drain()
        except NotNowError as error:
            self.note(str(error))
            raise
        self._summary += summary  # read anew: who drained at the same time was counted meanwhile
        self.note(None)
        self._silent = False
        return summary

    def take_summary(self) -> Summary:
        """Returns what was judged since the last call."""
        summary, self._summary = self._summary, Summary()
        return summary

    @property
    def source(self) -> str:
        """The name of what is read."""
        return self._pipeline.source

    @property
    def lag(self) -> float:
        """Seconds since all that was there was judged; 0 where another instance reads."""
        return self._pipeline.lag

    @property
    def in_flood(self) -> bool:
        """True while events come faster than they are judged here, in its first ten minutes."""
        # What came while a database was away is a flood that begins when it is back.
        lag = min(self._pipeline.lag, time.monotonic() - self._well_at)
        return self._trouble is None and _FLOOD < lag < _LONG_FLOOD

    @property
    def leading(self) -> bool:
        """True while this instance is the one that reads the source."""
        return self._pipeline.leading

    def note(self, trouble: str | None) -> None:
        """Remembers how reading goes, and logs it when that changes."""
        source = self._pipeline.source
        trouble = None if trouble is None else redact_text(trouble)
        if trouble != self._trouble:
            if trouble is None:
                self._well_at = time.monotonic()
                log.info("se lee %s", source)
            else:
                log.error("no se puede leer %s: %s", source, trouble)
        if trouble is not None and self._trouble is None:
            self._since = time.time()
        self._trouble = trouble

    def part(self) -> Part:
        """Returns the state for `/health`."""
        if self._task is not None and self._task.done() and not self._stopping.is_set():
            return Part(False, "terminó la tarea que lee: reinicia CoreC", restart=True)
        trouble = self._trouble or self._unstored() or self._delay()
        if trouble is not None:
            return Part(False, trouble, vital=not self.optional)
        if self._pipeline.leading:
            return Part(True, f"lee {self._pipeline.source}")
        name, _ = self._pipeline.leader or ("otra instancia", 0.0)
        return Part(True, f"en espera: lee {name}")

    def _unstored(self) -> str | None:
        """Says that nothing is stored now; a call that waits for alert_db tells it only later."""
        return "sin alert_db no se guarda nada" if self._degraded.away else None

    def _delay(self) -> str | None:
        """Says how late events are judged, here or by who reads instead of us; None: they are not.

        Only while this lasts: people are told by `_tell_behind`.
        """
        if (lag := self._pipeline.lag) > BEHIND:
            return f"va {duration(lag)} por detrás: queda por juzgar lo que llegó desde entonces"
        name, age = self._pipeline.leader or ("", 0.0)
        if not self._pipeline.leading and age > max(SILENCE, 3 * self._tick):
            return f"{name} tiene el turno de lectura y no lee desde hace {age:.0f} s"
        return None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            trouble = await self._turn()
            if trouble is None:
                continue
            self.note(trouble)
            await self._tell_trouble(trouble)
            await self._wait(_REST)

    async def _turn(self) -> str | None:
        """Drains and sleeps once; returns why it could not, or None."""
        try:
            began = time.monotonic()
            events = (await self.drain()).events
            worked = time.monotonic() - began
            if not self._pipeline.leading:  # whoever leads meanwhile may tell of troubles, and die
                self._ended = self._ended_behind = False
            await self._tell_end()
            await self._tell_behind()
            if events >= _MANY and self._pipeline.emptied_at < began:
                return None  # whoever is behind does not rest
            if events > _MUCH:  # writers at full speed would each wait for our share of processors
                await self._wait(min(_REST_FOR * worked, _BREATH))
            if not self._stopping.is_set():
                await self._pipeline.sleep(self._tick)
        except NotNowError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  (no fault of ours may end the reading)
            log_fault(log, f"fallo inesperado al leer {self._pipeline.source}", error)
            return f"fallo inesperado: {type(error).__name__}"
        return None

    async def _tell_trouble(self, trouble: str) -> None:
        if self._told or self._silent or time.time() - self._since < TELL_AFTER:
            return
        if self._degraded.looking:  # it is read, and people know why nothing is stored
            return
        source, now = self._pipeline.source, time.time()
        alarm = self._own_alerts.not_reading(source, self._severity, self._since, trouble, now)
        self._told = await self._tell(alarm)
        self._ended = False

    async def _tell_end(self) -> None:
        """Ends what was told; after a start also what was told before it."""
        if self._told or (self._pipeline.leading and not self._ended):
            source = self._pipeline.source
            end = self._own_alerts.reading_again(source, self._severity, time.time())
            self._ended = await self._tell(end)
            self._told = self._told and not self._ended

    @property
    def _severity(self) -> Severity:
        return Severity.ALTA if self.optional else Severity.CRITICA

    async def _tell_behind(self) -> None:
        """Tells people when writers stay faster than we are, and when we have caught up."""
        behind, source = self._pipeline.behind, self._pipeline.source
        if behind > BEHIND and not self._told_behind:
            alarm = self._own_alerts.behind(source, behind, time.time())
            self._told_behind = await self._tell(alarm)
            self._ended_behind = False
        elif (
            behind < BEHIND
            and self._pipeline.has_emptied
            and (self._told_behind or not self._ended_behind)  # after a start, what was told before
        ):
            self._ended_behind = await self._tell(self._own_alerts.caught_up(source, time.time()))
            self._told_behind = self._told_behind and not self._ended_behind

    async def _tell(self, news: News) -> bool:
        """Stores an alert of our own or its end; False where alert_db is the one that is away."""
        try:
            await self._degraded.tell(news)
        except NotNowError as error:
            log.error("no se pudo guardar el aviso «%s»: %s", said(news), error)
            return False
        except Exception as error:  # noqa: BLE001  (telling must not end the reading)
            log_fault(log, f"no se pudo guardar el aviso «{said(news)}»", error)
            return False
        return True

    async def _wait(self, seconds: float) -> None:
        """Waits; a stop ends it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
