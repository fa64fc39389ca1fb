"""Many alerts in one message: how many of which kind, and the worst of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256

from .delivery import AHEAD, DIGEST, Message, reminder
from .escape import clip
from .model import Severity

MOST = 10_000  # alerts in one digest
_IN_FULL = 10
_RULES = 30  # that are named
NAMED = 200  # critical alerts that are named
_MAX_TITLE = 60  # characters of a critical alert's title, where others are named beside it
_WHERE = {
    False: "Todas están guardadas: ./scripts/alerts.sh list",
    True: "La base de alertas no responde: se guardarán cuando vuelva.",
}
_WORDS = {
    Severity.CRITICA: ("crítica", "críticas"),
    Severity.ALTA: ("alta", "altas"),
    Severity.MEDIA: ("media", "medias"),
    Severity.BAJA: ("baja", "bajas"),
}


def digest(messages: Sequence[Message]) -> Message:
    """Returns one message for many, which come with the worst first; at least one.

    No critical alert goes unnamed, up to two hundred of them: names come before texts, as a channel
    may have no room for all. Channels that have less room ask for fewer (`Pace.names`).
    """
    worst = next((message for message in messages if not message.recovered), messages[0])
    names = chr(10).join(message.identity for message in messages)
    return replace(
        worst,
        attempt=max(message.attempt for message in messages),
        title=f"{len(messages)} alertas juntas: {', '.join(_counts(messages))}",
        text=f"Llegaron muchas a la vez. {_WHERE[worst.kind == AHEAD]}",
        rule="resumen",
        channel="resumen",
        event_data={},
        timestamp=max(message.timestamp for message in messages),
        progress=None,
        kind=AHEAD if worst.kind == AHEAD else DIGEST,
        number=worst.number if worst.kind == AHEAD else 0,
        recovered=all(message.recovered for message in messages),
        details=tuple(_lines(messages)),
        alerts=tuple(m.alert_id for m in messages if m.kind != AHEAD),
        members=sha256(names.encode()).hexdigest()[:32],
    )


def _counts(messages: Sequence[Message]) -> Iterator[str]:
    over = sum(message.recovered for message in messages)
    counts = Counter(message.severity for message in messages if not message.recovered)
    for severity, count in sorted(counts.items(), reverse=True):
        yield f"{count} {_WORDS[severity][count > 1]}"
    if over:
        yield f"{over} que {'se resolvió' if over == 1 else 'se resolvieron'}"


def _lines(messages: Sequence[Message]) -> Iterator[str]:
    critical = [m for m in messages if m.severity is Severity.CRITICA and not m.recovered]
    for message in critical[:NAMED]:
        yield _named(replace(message, title=clip(message.title, _MAX_TITLE)))
    if left := len(critical[NAMED:]):
        yield f"… y {left} críticas más: ./scripts/alerts.sh list --severity critica"
    kinds = Counter((m.recovered, -m.severity, m.rule) for m in messages)
    for (recovered, severity, rule), count in sorted(kinds.items())[:_RULES]:
        label = "resuelta" if recovered else Severity(-severity).label
        yield f"{count} × {label.upper()} {rule}"
    if len(kinds) > _RULES:
        yield f"… y {len(kinds) - _RULES} clases más"
    for message in messages[:_IN_FULL]:
        text = message.text.removeprefix(reminder(AHEAD, 0, 0.0, 1))  # it is said once, of all
        yield _named(message, f" — {text}")


def _named(message: Message, text: str = "") -> str:
    return f"{message.label.upper()}: {message.title}{text} ({message.named})"
