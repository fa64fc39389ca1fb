"""What the channels share: the facts of an alert in words, and sentences for failures."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from ...domain.delivery import Message
from ...domain.escape import clip, single_line
from ...domain.redact import MASK, redact_text

MAX_ANSWER = 200  # characters of a server's answer that a reason repeats
_MAX_VALUE = 200  # characters of one field of an event
# Characters that are looked at, more than are ever shown: cleaning a megabyte would stop the event
# loop for most of a second.
_MAX_READ = 8_000
_LAST_TIME = 253_402_214_400.0  # 9999-12-31, the last day that a datetime holds in every zone
_MORE = "… y {} líneas más: ./scripts/alerts.sh list"
_EVENT_FIELDS = (
    ("Plugin", "plugin"),
    ("Exchange", "exchange"),
    ("Símbolo", "symbol"),
    ("Usuario", "user_id"),
)


def shown(text: str) -> str:
    """Returns text of an event as one bounded line without secrets or control characters."""
    return redact_text(single_line(text[:_MAX_READ]))


def as_json(message: Message) -> dict[str, Any]:
    """Returns what programs read of an alert; its keys are the columns of `alerts`."""
    return {
        "id": message.stored_id,
        "severity": message.severity.key,
        "status": "resuelta" if message.recovered else "abierta",
        "kind": message.kind,
        "title": message.title,
        "message": message.text,
        "channel": message.channel,
        "rule": message.rule,
        "event_data": message.event_data,
        "timestamp": message.timestamp,
        **({"details": list(message.details)} if message.details else {}),
        **({"alerts": list(message.alerts)} if message.alerts else {}),
    }


def paragraphs(message: Message) -> list[str]:
    """Returns what it says: one paragraph, and more lines where it stands for many alerts."""
    return [shown(text) for text in (message.text, *message.details)]


def fitting(lines: Sequence[str], limit: int, length: Callable[[str], int] = len) -> list[str]:
    """Returns the lines that fit into `limit` characters, and says how many are left out."""
    if sum(length(line) + 1 for line in lines) <= limit + 1:
        return list(lines)
    room = limit - len(_MORE) - len(str(len(lines)))
    kept: list[str] = []
    for line in lines:
        room -= length(line) + 1
        if room < 0:
            break
        kept.append(line)
    # Of a single long one, the caller shows the beginning.
    return [*kept, _MORE.format(len(lines) - len(kept))] if kept else list(lines[:1])


def headline(message: Message) -> str:
    """Returns `CRÍTICA: título`."""
    return f"{message.label.upper()}: {shown(message.title)}"


def facts(message: Message) -> list[tuple[str, str]]:
    """Returns label and value of what is known about the event's origin, absent ones left out."""
    pairs: list[tuple[str, object]] = [("Regla", message.rule), ("Canal", message.channel)]
    pairs += [(label, message.event_data.get(key)) for label, key in _EVENT_FIELDS]
    return [
        (label, clip(shown(str(value)), _MAX_VALUE))
        for label, value in pairs
        if isinstance(value, str | int | float) and value != ""
    ]


def event_time(message: Message, zone: tzinfo = UTC) -> datetime:
    """Returns the event's time in a zone; a time beyond the calendar is moved to its edge."""
    return datetime.fromtimestamp(min(max(message.timestamp, 0.0), _LAST_TIME), zone)


def answer_line(answer: str, secrets: Iterable[str] = ()) -> str:
    """Returns the first line of a server's answer, bounded and without secrets.

    Args:
        answer: what the server said.
        secrets: texts of ours that it may have repeated.
    """
    for secret in secrets:
        if secret:
            answer = answer.replace(secret, MASK)
    lines = answer.strip().splitlines()
    return clip(shown(lines[0]), MAX_ANSWER) if lines else ""


def network_reason(error: BaseException, server: str) -> str:
    """Returns a sentence for a failure of the network; never the text of the exception itself.

    An exception of a client library may quote the URL, and with it a token.
    """
    chain = _chain(error)
    for fault in chain:
        # aiohttp's own exception is of this type too, but without a message
        detail = getattr(fault, "verify_message", "")
        if isinstance(fault, ssl.SSLCertVerificationError) and detail:
            return f"el certificado TLS de {server} no es válido: {answer_line(detail)}"
    for kinds, text in _NETWORK_FAULTS:
        if any(isinstance(fault, kinds) for fault in chain):
            return text.format(server=server)
    return f"no se pudo hablar con {server}: {type(chain[-1]).__name__}"


_NETWORK_FAULTS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLError, "falló la conexión TLS con {server}"),
    (socket.gaierror, "no se encuentra {server}: su nombre no se resuelve"),
    (ConnectionRefusedError, "{server} rechaza la conexión"),
    (TimeoutError, "{server} no responde a tiempo"),
    (ConnectionError, "{server} cortó la conexión"),
    (OSError, "no hay conexión con {server}"),
)


def _chain(error: BaseException) -> list[BaseException]:
    """Returns an exception and its causes, the first cause last."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain
