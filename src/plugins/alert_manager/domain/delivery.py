"""The values of delivery: a message in hand, and what became of an attempt to tell it."""

from __future__ import annotations

from dataclasses import dataclass

from .breaker import CLOSED
from .formats import duration
from .model import Payload, Severity

AHEAD = "ahead"
"""The kind of a message that is told while alert_db does not answer: no row of it exists yet."""
DIGEST = "digest"
"""The kind of a message that stands for many alerts."""
TEST = "test"
"""The kind of a message that somebody sends to see whether it arrives: there is no alert."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a message with several recipients got; the next attempt goes on from there.

    Attributes:
        remaining: recipients that are still to be told, as their channel names them; no secrets.
        refused: sentences about recipients that will never take it; empty when there are none.
        told: True once at least one recipient has it.
        digest: names the digest that it is about; empty where it is one alert.
    """

    remaining: tuple[str, ...]
    refused: str = ""
    told: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A notification in hand: what one channel is to tell about one alert.

    Attributes:
        alert_id: the alert's id; a repeat of the same message is recognised by it. 0 where it is
            told ahead of alert_db, which does not answer.
        attempt: 1 for the first try.
        title: one short line.
        text: one paragraph of plain text.
        rule: the rule that made the alert.
        channel: the CoreC channel of the event.
        event_data: the redacted payload.
        timestamp: event time, seconds since the epoch.
        progress: what earlier attempts reached; None where all recipients are still to be told.
        recovered: True where the message says that the alert is over.
        kind: `alert`, `recovery`, `repeat`, `escalation`, `ahead`, `digest` or `test`.
        number: of the repetition, of the step of the escalation, or of what is told ahead.
        details: more lines of plain text, where it stands for many alerts.
        alerts: their ids, and `members` the same for the same ones; empty where it is one.
    """

    alert_id: int
    attempt: int
    severity: Severity
    title: str
    text: str
    rule: str
    channel: str
    event_data: Payload
    timestamp: float
    progress: Progress | None = None
    recovered: bool = False
    kind: str = "alert"
    number: int = 0
    details: tuple[str, ...] = ()
    alerts: tuple[int, ...] = ()
    members: str = ""

    @property
    def label(self) -> str:
        """What it is in one word: its severity, or that it is over."""
        return "resuelta" if self.recovered else self.severity.label

    @property
    def reference(self) -> str:
        """What people call it by: the alert's id, or that it has none yet, or several."""
        if self.members:
            return "varias"
        if self.kind == TEST:
            return "prueba"
        return str(self.alert_id) if self.kind != AHEAD else "aún sin guardar"

    @property
    def named(self) -> str:
        """The same in a sentence: `alerta 12`."""
        return "varias alertas" if self.members else f"alerta {self.reference}"

    @property
    def stored_id(self) -> int | None:
        """The id of the one alert that it is about, where that is stored."""
        return None if self.kind in (AHEAD, DIGEST, TEST) else self.alert_id

    @property
    def identity(self) -> str:
        """The same for the same message, whenever and by whomever it is sent."""
        if self.members:
            return f"{DIGEST}-{self.members}"
        which = f"{self.alert_id}{self.kind}{self.number}"
        return which if self.kind != AHEAD else f"{which}-{self.timestamp:.6f}"


def reminder(kind: str, alert_id: int, age: float, occurrences: int) -> str:
    """Returns what comes before the words of an alert that is told again, or to somebody else.

    `age` in seconds, since it was stored.
    """
    if kind == AHEAD:
        return "La base de alertas no responde: esta se avisa ya y se guardará después. "
    if kind not in ("repeat", "escalation"):
        return ""
    times = "" if occurrences == 1 else f", y ya van {occurrences} veces"
    said = "Sigue abierta" if kind == "repeat" else "Nadie la ha reconocido"
    return (
        f"{said} desde hace {duration(age)}{times}; quien se ocupe, que ejecute "
        f"./scripts/alerts.sh ack {alert_id}. "
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel accepted the message.

    Attributes:
        external_id: the channel's own id for it, if it gave one.
        refused: sentences about recipients that will never take it; the others have it.
        answer: what the server said, in one line without secrets.
    """

    external_id: str | None = None
    refused: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The message was not accepted, or not by all recipients, and may be later.

    Attributes:
        reason: a sentence without secrets.
        after: seconds that the server asked to wait; None leaves the wait to our backoff.
        throttled: True for a rate limit (429): it costs no attempt and counts as no failure.
        progress: where the next attempt goes on; None leaves it where it was. Only a channel that
            takes one message at a time (`max_batch` 1) may give one.
    """

    reason: str
    after: float | None = None
    throttled: bool = False
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The message can never be accepted; of a batch, at least one of its messages.

    Attributes:
        reason: a sentence without secrets.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Disabled:
    """The target is gone or shuts us out (401, 404, 535): no message at all is accepted.

    Attributes:
        reason: a sentence without secrets.
    """

    reason: str


Outcome = Sent | Retry | Rejected | Disabled


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is kept of one attempt to tell a message.

    Attributes:
        outcome: `sent`, `retry`, `throttled`, `rejected` or `disabled`.
        seconds: that it took.
        answer: what the server said, in one line without secrets.
    """

    outcome: str
    seconds: float
    answer: str | None

    @classmethod
    def of(cls, outcome: Outcome, seconds: float) -> Attempt:
        """Returns what is kept of an outcome."""
        if isinstance(outcome, Sent):
            return cls("sent", seconds, outcome.answer or outcome.refused)
        throttled = isinstance(outcome, Retry) and outcome.throttled
        name = "throttled" if throttled else type(outcome).__name__.lower()
        return cls(name, seconds, outcome.reason)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a notification channel is doing.

    Attributes:
        breaker: `closed`, `half_open` or `open`.
        held: True while its server wants no requests for long.
        disabled: why no further message is tried, or None.
        last_error: the reason of the last failure, or None after a success.
    """

    breaker: str
    held: bool
    disabled: str | None
    last_error: str | None

    @property
    def open(self) -> bool:
        """True while it has to wait before it may tell anything."""
        return self.held or self.breaker != CLOSED

    @property
    def cannot_tell(self) -> bool:
        """True while what it has to tell stays untold."""
        return self.open or self.disabled is not None
