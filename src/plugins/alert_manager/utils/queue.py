"""What a channel's worker takes its messages from, and tells what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..domain.delivery import Attempt, Message, Progress, Sent


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that are ours to send until the lease ends.

    Attributes:
        token: completes them; a claim whose lease ended may have lost it to somebody else.
        ids: of the queue's rows, in the order of `messages`.
        alerts: that are told for the first time; ids.
        digest: True where one message stands for all of the rows.
        target: stands for the channel's address.
        more: False where no other message of the channel waits, due or not.
    """

    channel: str
    token: str
    ids: tuple[int, ...]
    messages: tuple[Message, ...]
    alerts: tuple[int, ...] = ()
    digest: bool = False
    target: str = ""
    more: bool = True


class Due(NamedTuple):
    """Which messages of a channel may be told.

    Attributes:
        max_age: in seconds; older ones are left alone: news of yesterday, told as if they were of
            now, would mislead.
        least: the least urgent severity; the others wait.
        target: stands for the channel's address.
    """

    channel: str
    max_age: float
    least: int = 0
    target: str = ""


class Again(NamedTuple):
    """How messages wait for another try.

    Attributes:
        delay: in seconds.
        reason: why, for a person.
        give_back: takes the attempt off their count.
        progress: where the next attempt goes on; None leaves it where it was.
        hold: seconds in which nobody sends anything to the channel.
    """

    delay: float
    reason: str
    give_back: bool = False
    progress: Progress | None = None
    hold: float = 0.0


class Waiting(NamedTuple):
    """What is due of a channel.

    Attributes:
        critical: number of messages that nobody has; `others` likewise.
        mark: of a digest that some recipients have, where there is one.
    """

    critical: int = 0
    others: int = 0
    mark: str | None = None


class Queue(Protocol):
    """Messages to be told. Every call may raise `NotNowError`."""

    async def now(self) -> float:
        """Returns the time that counts for these messages (epoch seconds)."""
        ...

    async def claim(
        self, due: Due, limit: int, brief: bool = False, mark: str | None = None
    ) -> Claim | None:
        """Claims up to `limit` due messages, the urgent ones first; None when none is due.

        `brief`: for a digest; leaves out what that does not show. `mark`: those of this digest
        alone; empty: of none, and for a digest, those alone that nobody has; None: all.
        """
        ...

    async def waiting(self, due: Due) -> Waiting:
        """Returns how much is due."""
        ...

    async def next_due(self, due: Due) -> float | None:
        """Returns the seconds until the next message is due (negative: overdue)."""
        ...

    async def sent(self, claim: Claim, outcome: Sent, attempt: Attempt) -> None:
        """Records that the channel accepted the messages."""
        ...

    async def retry(self, claim: Claim, again: Again, attempt: Attempt | None) -> None:
        """Lets messages wait; `attempt` is what was tried, None: nothing."""
        ...

    async def dead(
        self, claim: Claim, reason: str, attempt: Attempt, fallback: str | None = None
    ) -> None:
        """Gives messages up, for a reason that a person can see; urgent ones to the fallback."""
        ...

    async def hand_over(self, due: Due, fallback: str) -> bool:
        """Gives what a channel cannot tell now to its fallback, too, and takes back what that told.

        Only what is of severity alta or worse. Returns whether the fallback has something new.
        """
        ...

    async def take_back(self, channel: str, fallback: str) -> None:
        """Takes back what a fallback has told meanwhile."""
        ...
