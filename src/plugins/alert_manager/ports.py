"""What reading and recording need of the world; `utils` has what talks to it for real."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from .domain.errors import RefusedError
from .domain.model import Fetched, P, RawEvent, StateKey, States
from .domain.outcome import Candidate, Committed, Judged
from .domain.silences import Silences
from .domain.thresholds import StoredThresholds

Known = Mapping[bytes, tuple[int, float]]
"""Alerts by fingerprint: (alert id, event time of the first alert)."""

StoredPosition = Mapping[str, Any]
"""A position as JSON."""


class Moved(NamedTuple):
    """A source's new position.

    Attributes:
        version: of the position that it replaces.
        caught_up: everything in the source up to then is judged (epoch seconds), where known.
    """

    source: str
    position: StoredPosition
    version: int
    caught_up: float | None = None


class Reader(Protocol[P]):
    """A source of events. Every asynchronous call may raise `NotNowError`."""

    @property
    def source(self) -> str:
        """The source's name, as its position is stored under."""
        ...

    @property
    def reads_ahead(self) -> bool:
        """True where a fetch may follow one that is not committed yet, and may come to nothing."""
        ...

    def decode(self, stored: StoredPosition) -> P:
        """Returns the position that was stored as this JSON."""
        ...

    async def check(self) -> None:
        """Asks whether events can be read here."""
        ...

    async def first_position(self) -> P:
        """Returns where a first start begins."""
        ...

    async def fetch(self, position: P) -> Fetched[P]:
        """Reads the next events; none means that nothing new is visible."""
        ...

    def part(self, before: P, fetched: Fetched[P], count: int) -> P:
        """Returns the position after the first `count` events of a fetch that began at `before`."""
        ...

    async def committed(self, position: P) -> None:
        """Hears that everything up to a position is in alert_db; raises nothing."""
        ...

    async def sleep(self, position: P, seconds: float) -> None:
        """Sleeps until there may be news, `wake` is called, or for `seconds`."""
        ...

    def wake(self) -> None:
        """Ends a sleep at once."""
        ...


class ChannelWatch(Protocol):
    """Hears how notification channels are doing."""

    def channel_down(self, name: str, reason: str) -> None:
        """A channel's breaker opened, or it is disabled."""
        ...

    def channel_up(self, name: str) -> None:
        """A channel works; perhaps it always did."""
        ...

    def given_up(self, name: str, count: int, reason: str, fallback: str | None = None) -> None:
        """Messages of a channel were given up."""
        ...


class Nobody:
    """Hears nothing."""

    def channel_down(self, name: str, reason: str) -> None:
        """Does nothing."""

    def channel_up(self, name: str) -> None:
        """Does nothing."""

    def given_up(self, name: str, count: int, reason: str, fallback: str | None = None) -> None:
        """Does nothing."""


class Store(Protocol):
    """alert_db. Every call may raise `NotNowError`."""

    @property
    def instance(self) -> str:
        """The CoreC instance that stores here."""
        ...

    @property
    def failed_at(self) -> float:
        """When a call to it last came to nothing, whichever source's it was (monotonic)."""
        ...

    async def prepare(self) -> None:
        """Makes the tables where they are missing; a database may come back restored or empty."""
        ...

    def leads(self, source: str) -> bool:
        """Says whether the lead that was taken is still ours, as far as is known without asking."""
        ...

    async def take_lead(self, source: str) -> bool:
        """Takes the lead for a source where it is free."""
        ...

    async def release_lead(self, source: str) -> None:
        """Lets another instance have the lead."""
        ...

    async def confirm(self, moved: Moved) -> bool:
        """Leaves a sign of life, and how far a source is read, which is no new version of it.

        Returns False when the stored position is not the one that we went on from.
        """
        ...

    async def last_sign(self, source: str) -> tuple[str, float] | None:
        """Returns which instance last gave a sign of life as reader, and seconds since then."""
        ...

    async def load_position(self, source: str) -> tuple[StoredPosition, int] | None:
        """Returns the position of a source and its version, or None before its first start."""
        ...

    async def create_position(self, source: str, position: StoredPosition) -> None:
        """Stores the first position of a source, unless somebody else already did."""
        ...

    async def load_states(self, keys: Collection[StateKey]) -> States:
        """Returns what rules remember of these keys; those with nothing stored are left out."""
        ...

    async def load_thresholds(self) -> StoredThresholds:
        """Returns the newest change of each threshold."""
        ...

    async def load_silences(self) -> Silences:
        """Returns the silences that count now, or will."""
        ...

    async def judged_until(self, silence: float, but: str | None = None) -> float:
        """Returns the moment up to which everything is judged (epoch seconds), in all sources.

        In all but one, where one is named. A source that nobody read for `silence` seconds is not
        waited for; infinity: there is none.
        """
        ...

    async def forget_states(self, but: Collection[str]) -> None:
        """Forgets what was remembered by names that are none any more."""
        ...

    async def load_due(
        self, rules: Collection[str], until: float, after: StateKey | None, limit: int
    ) -> States:
        """Returns a page of the states whose deadline is no later than `until`, by their keys.

        `after` is the last key of the page before.
        """
        ...

    async def commit(
        self, judged: Judged, moved: Moved | None = None, cached: Known | None = None
    ) -> Committed:
        """Stores what a batch came to, all or nothing.

        Raises:
            StaleReaderError: the version in `moved` is not the stored one.
            StaleStateError: what a rule remembers was changed by another source's reader.
            StaleThresholdsError: a threshold was changed.
            StaleSilencesError: a silence was added, or is over.
            RefusedError: the database does not take a value.
            TooSlowError: it was too much for one commit; nothing was stored.
        """
        ...

    async def check_thresholds(self, judged: Judged) -> None:
        """Asks whether a batch was judged by what thresholds are.

        Raises:
            StaleThresholdsError: one was changed.
        """
        ...

    async def refusal(self, judged: Judged) -> RefusedError | None:
        """Tries to store and takes it back; returns why the database refused, or None."""
        ...


class Cache(Protocol):
    """Recent alerts by fingerprint; raises nothing, and may know nothing."""

    async def look_up(self, candidates: Sequence[Candidate]) -> Known:
        """Returns the alerts that it knows."""
        ...

    async def remember(self, candidates: Sequence[Candidate], committed: Committed) -> None:
        """Stores new alerts after their commit."""
        ...


class AlertDb(Protocol):
    """Whether alert_db is there at all."""

    @property
    def unanswered_since(self) -> float | None:
        """Since when what is asked there was not answered (monotonic); None: it was."""
        ...

    async def probe(self, limit: float) -> None:
        """Asks for an answer within `limit` seconds.

        Raises:
            DatabaseUnavailableError: none came.
        """
        ...

    def refuse(self) -> None:
        """Keeps others from waiting for it."""
        ...

    def accept(self) -> None:
        """Lets others ask it again."""
        ...


class AheadStore(Protocol):
    """What is kept while alert_db is away. Every call may raise `SpoolUnusableError`."""

    async def open(self) -> None:
        """Takes up what an earlier run left."""
        ...

    async def add(self, candidates: Sequence[Candidate], road: str, own: bool = False) -> set[str]:
        """Stores alerts that are no repeats; returns the channels that have something to tell.

        `road` is the source that will bring them again; none will bring those of our `own`.
        """
        ...

    async def keep(self, event: RawEvent) -> None:
        """Stores an event that no source will bring again."""
        ...

    async def events(self) -> list[RawEvent]:
        """Returns such events; a page of them."""
        ...

    async def forget_event(self, event: RawEvent) -> None:
        """Forgets such an event."""
        ...

    async def own(self) -> list[tuple[int, Candidate]]:
        """Returns alerts of our own with their numbers; a page of them."""
        ...

    async def forget_own(self, number: int) -> None:
        """Hears that such an alert is stored; it goes when nobody is being told of it."""
        ...

    async def drop_waiting(self) -> None:
        """Forgets what was not told: alert_db takes care of it."""
        ...

    async def clear(self, road: str) -> None:
        """Forgets what a source brought: it is stored."""
        ...

    async def save_position(self, source: str, position: StoredPosition) -> None:
        """Remembers where reading a source stands."""
        ...

    async def forget_position(self, source: str) -> None:
        """Forgets it."""
        ...

    async def position(self, source: str) -> StoredPosition | None:
        """Returns where reading a source stood, or None."""
        ...
