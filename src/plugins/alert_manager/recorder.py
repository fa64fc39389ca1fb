"""Judge and commit, for whoever has events in hand: the sources' pipelines and the host's push."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from .domain.errors import (
    AlreadyStoredError,
    RefusedError,
    StaleSilencesError,
    StaleThresholdsError,
    TooSlowError,
)
from .domain.model import RawEvent, States, StoredState
from .domain.outcome import Candidate, Committed, Judged, Summary
from .judge import BatchJudge
from .letters import dead_letter
from .metrics import PUSH, Metrics
from .ports import Cache, Known, Moved, Store
from .recent import RecentStates
from .silencer import Silencer
from .storing import Storing
from .untold import Untold

_WAIT = 0.1  # seconds between looks whether another source has caught up
_PATIENCE = 20  # of these for one batch; five times as many in all
SILENCE = 60.0  # seconds after which a source that nobody reads keeps nobody waiting
_ALWAYS = 100 * 365 * 86400.0  # seconds

log = logging.getLogger("corec.alert_manager.recorder")


class Recorder:
    """Turns events into committed alerts; nothing is told before it is committed."""

    def __init__(
        self,
        judge: BatchJudge,
        store: Store,
        cache: Cache,
        metrics: Metrics,
        silencer: Silencer,
        on_alerts: Callable[[Iterable[str]], None],
        before_commit: Callable[[], Awaitable[None]],
        untold: Untold,
    ) -> None:
        """`before_commit` hands in what was told while alert_db was away."""
        self._judge = judge
        self._store = store
        self._cache = cache
        self._metrics = metrics
        self._silencer = silencer
        self._on_alerts = on_alerts
        self._before_commit = before_commit
        self._untold = untold
        self._patience = 0
        self._unsettled_at = 0.0
        self.unsettled()
        self._recent = RecentStates()
        self.storing = Storing()
        self._informed = False  # about thresholds that were changed at run time
        # One thread: a judgement whose caller was cancelled still has the decoder in its hands.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")

    def unsettled(self) -> None:
        """Hears that a source is read from now on: the others may have stood still, too."""
        self._unsettled_at = time.monotonic()
        self._patience = 5 * _PATIENCE

    @property
    def silence(self) -> float:
        """Seconds after which a source that nobody reads keeps nobody waiting, as things are."""
        # Just now each of them has to find out where it stands, however long ago it was read.
        return SILENCE if time.monotonic() - self._unsettled_at >= SILENCE else _ALWAYS

    async def judge(self, events: Sequence[RawEvent], source: str | None = None) -> Judged:
        """Judges events of a source off the event loop, as many as the judge takes at once.

        Raises:
            NotNowError: alert_db does not say what rules remember.
        """
        return await self.judge_on(await self.look_at(events), source)

    async def look_at(self, events: Sequence[RawEvent]) -> Judged:
        """Judges events by themselves; `judge_on` does the rest.

        Raises:
            NotNowError: alert_db does not say what thresholds are.
        """
        loop = asyncio.get_running_loop()
        if not self._informed:
            # In this order: what changes from here on makes the next commit fail, and ask again.
            self._informed = True
            await self._inform()
        return await loop.run_in_executor(self._thread, self._judge.judge, events, time.time())

    async def _inform(self) -> None:
        try:
            stored = await self._store.load_thresholds()
        except BaseException:
            self._informed = False
            raise
        await asyncio.get_running_loop().run_in_executor(self._thread, self._judge.use, stored)

    async def foresee(self, events: Sequence[RawEvent], ahead: RecentStates) -> Judged:
        """Judges events without alert_db, and stores nothing; `ahead` has what came before them."""
        loop = asyncio.get_running_loop()
        judged = await loop.run_in_executor(self._thread, self._judge.judge, events, time.time())
        if not judged.keys:
            return judged
        states = {**self._recent.of(judged.keys), **ahead.of(judged.keys)}
        # What seems to be missing may still come by another source: nothing of that is told.
        track, until = self._judge.track, float("-inf")
        judged = await loop.run_in_executor(self._thread, track, judged, states, until)
        ahead.update(judged.states)
        return judged

    async def missing(self, states: States, until: float) -> Judged:
        """Judges what did not come until a moment (epoch seconds), off the event loop."""
        loop = asyncio.get_running_loop()
        judged = await loop.run_in_executor(self._thread, self._judge.missing, states, until)
        return await self.judge_on(judged)

    async def judge_on(self, judged: Judged, source: str | None = None) -> Judged:
        """Judges on with what is remembered, where something is needed.

        Raises:
            NotNowError: alert_db does not say what rules remember.
        """
        if not judged.keys:
            return judged
        states = await self._store.load_states(judged.keys)
        self._recent.update(states)
        awaiting = not self._judge.awaiting.isdisjoint(rule for rule, _ in judged.keys)
        loop, until = asyncio.get_running_loop(), float("inf")
        for _ in range(_PATIENCE):
            if awaiting:
                until = await self._store.judged_until(self.silence, but=source)
            tracked = await loop.run_in_executor(
                self._thread, self._judge.track, judged, states, until
            )
            if not tracked.unsure:
                self._patience = min(self._patience + 1, 5 * _PATIENCE)
                return tracked
            if self._patience <= 0:
                break
            # After a start every source has a backlog, and what is missing here may be in another.
            self._patience -= 1
            await asyncio.sleep(_WAIT)
        # It takes too long: better told of something that another source still brings than not.
        log.warning("otra fuente va con retraso: se avisa de lo que falta en esta")
        track = self._judge.track
        return await loop.run_in_executor(self._thread, track, judged, states, float("inf"))

    @property
    def remembering(self) -> frozenset[str]:
        """The names under which something is remembered."""
        return self._judge.remembering

    @property
    def awaiting(self) -> frozenset[str]:
        """The names of rules that tell of events that do not come."""
        return self._judge.awaiting

    async def record(
        self, events: Sequence[RawEvent], judged: Judged, moved: Moved | None = None
    ) -> Summary:
        """Commits what events came to, with the position of their source.

        Raises:
            NotNowError: alert_db does not answer, or somebody else moved the position.
            TooSlowError: it takes none of these events together: fewer may pass.
            psycopg2.Error: alert_db refused a statement for a reason of its own.
        """
        try:
            return await self._commit(events, judged, moved)
        except RefusedError as error:
            log.error("alert_db rechazó un lote, se separa lo que no admite: %s", error)
        try:
            return await self._commit(events, await self._without_refused(events, judged), moved)
        except RefusedError as error:
            if not events:  # an alert of our own
                raise
            if len(events) > 1:
                raise TooSlowError(f"alert_db rechaza el lote entero: {error}") from error
            letter = dead_letter(events[0], f"alert_db no lo admite: {error}", time.time())
            judged = Judged(judged.events, dead_letters=(letter,))
            return await self._commit(events, judged, moved)

    async def pass_over(self, events: Sequence[RawEvent], judged: Judged) -> Summary:
        """Counts events that came to nothing.

        Raises:
            NotNowError: alert_db does not answer, or a threshold was changed since.
        """
        try:
            await self._store.check_thresholds(judged)
        except StaleThresholdsError:
            self._informed = False
            raise
        self._metrics.committed(events, judged, Committed())
        return Summary(judged.events)

    async def push(self, raw: RawEvent) -> Summary:
        """Judges and commits one event that the host handed over.

        Raises:
            NotNowError: alert_db does not answer; the event was not stored.
        """
        summary = await self.record([raw], await self.judge([raw]))
        self._metrics.read(PUSH, summary.events)
        return summary

    def close(self) -> None:
        """Judges nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _without_refused(self, events: Sequence[RawEvent], judged: Judged) -> Judged:
        """Leaves out what alert_db refuses; it becomes a dead letter of its event."""
        by_id: Mapping[Any, RawEvent] = {(raw.source, raw.event_id): raw for raw in events}
        refused = {id(c): error for c, error in await self._refused(judged.candidates)}
        dead = list(judged.dead_letters)
        for candidate in judged.candidates:
            refusal = refused.get(id(candidate))
            if refusal is None or isinstance(refusal, AlreadyStoredError):
                continue
            raw = by_id.get((candidate.source, candidate.event_id))
            if raw is None:  # an alert of our own
                log.error("alert_db no admite «%s»: %s", candidate.words.say().title, refusal)
                continue
            reason = f"alert_db no lo admite: {refusal}"
            dead.append(dead_letter(raw, reason, candidate.timestamp))
        left = tuple(c for c in judged.candidates if id(c) not in refused)
        return replace(judged, candidates=left, dead_letters=tuple(dead))

    async def _refused(
        self, candidates: Sequence[Candidate]
    ) -> list[tuple[Candidate, RefusedError]]:
        """Finds what alert_db refuses, by halves: a batch may hold thousands."""
        if not candidates:
            return []
        refusal = await self._store.refusal(Judged(0, tuple(candidates)))
        if refusal is None:
            return []
        if len(candidates) == 1:
            return [(candidates[0], refusal)]
        half = len(candidates) // 2
        return [
            *await self._refused(candidates[:half]),
            *await self._refused(candidates[half:]),
        ]

    async def _commit(
        self, events: Sequence[RawEvent], judged: Judged, moved: Moved | None
    ) -> Summary:
        cached = await self._cache.look_up(judged.candidates)
        try:
            judged, committed = await self._store_muted(judged, moved, cached)
        except StaleThresholdsError:
            self._informed = False
            raise
        self._recent.update(_as_stored(judged.states))
        self._informed = self._informed and not judged.changes
        self._untold.stored(judged.candidates, committed)
        if committed.channels:
            self._on_alerts(committed.channels)
        await self._cache.remember(judged.candidates, committed)
        self._metrics.committed(events, judged, committed)
        self._log(judged)
        return Summary(
            judged.events, len(committed.alerts), committed.repeats, committed.dead_letters
        )

    async def _store_muted(
        self, judged: Judged, moved: Moved | None, cached: Known, again: bool = True
    ) -> tuple[Judged, Committed]:
        """Commits what no silence keeps from people; once more where silences have changed."""
        muted = await self._silencer.mute(judged)
        try:
            with self.storing.trying():
                await self._before_commit()
                return muted, await self._store.commit(muted, moved, cached)
        except StaleSilencesError:
            self._silencer.outdated()
            if not again:
                raise
        return await self._store_muted(judged, moved, cached, again=False)

    def _log(self, judged: Judged) -> None:
        for change in judged.changes:
            log.info(
                "umbral %s: %g en vez de %g (%s)", change.name, change.new, change.old, change.who
            )
        for letter in judged.dead_letters:
            log.warning(
                "evento ilegible en %s (id %s): %s", letter.channel, letter.event_id, letter.reason
            )


def _as_stored(states: States) -> States:
    return {
        key: StoredState(state.text, state.version + 1, state.deadline)
        for key, state in states.items()
    }
