"""Many alerts in one message: how many of which kind, and the worst of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .delivery import AHEAD, Message
from .model import Severity

MOST = 10_000  # alerts in one digest
_IN_FULL = 10
_RULES = 30  # that are named
_CRITICAL = 200  # that are named, beyond those in full
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

    No critical alert goes unnamed, up to two hundred of them.
    """
    worst = messages[0]
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
        recovered=all(message.recovered for message in messages),
        details=tuple(_lines(messages)),
    )


def _counts(messages: Sequence[Message]) -> Iterator[str]:
    over = sum(message.recovered for message in messages)
    counts = Counter(message.severity for message in messages if not message.recovered)
    for severity, count in sorted(counts.items(), reverse=True):
        yield f"{count} {_WORDS[severity][count > 1]}"
    if over:
        yield f"{over} que {'se resolvió' if over == 1 else 'se resolvieron'}"


def _lines(messages: Sequence[Message]) -> Iterator[str]:
    kinds = Counter((m.recovered, -m.severity, m.rule) for m in messages)
    for (recovered, severity, rule), count in sorted(kinds.items())[:_RULES]:
        label = "resuelta" if recovered else Severity(-severity).label
        yield f"{count} × {label.upper()} {rule}"
    if len(kinds) > _RULES:
        yield f"… y {len(kinds) - _RULES} clases más"
    for message in messages[:_IN_FULL]:
        yield _named(message, f" — {message.text}")
    others = [m for m in messages[_IN_FULL:] if m.severity is Severity.CRITICA and not m.recovered]
    for message in others[:_CRITICAL]:
        yield _named(message)
    if left := len(others[_CRITICAL:]):
        yield f"… y {left} críticas más: ./scripts/alerts.sh list --severity critica"


def _named(message: Message, text: str = "") -> str:
    return f"{message.label.upper()}: {message.title}{text} (alerta {message.reference})"
