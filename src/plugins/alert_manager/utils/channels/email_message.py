"""Writes the mail of an alert: plain text and HTML, from the templates beside the plugin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ...domain.delivery import Message
from ...domain.escape import clip, many_lines
from ...domain.formats import Formats
from ...domain.model import Payload, Severity
from ...domain.redact import redact
from .common import event_time, facts, headline, shown

_TEMPLATES = Path(__file__).parents[2] / "templates"
_MAX_SUBJECT = 200  # UTF-16 units
_MAX_DATA = 16_000  # characters of the event that a mail repeats
_COLOURS = {
    Severity.CRITICA: "#b3261e",
    Severity.ALTA: "#b3530a",
    Severity.MEDIA: "#7a5d00",
    Severity.BAJA: "#2f5d8a",
}
_RECOVERED = "#1e7a3c"
_PRIORITIES = {Severity.CRITICA: "1 (Highest)", Severity.ALTA: "2 (High)"}


class MailWriter:
    """Turns alerts into mails from one sender to the same recipients."""

    def __init__(
        self, sender: str, recipients: Sequence[str], prefix: str, formats: Formats
    ) -> None:
        self._from = Address(display_name="CoreC", addr_spec=sender)
        self._to = tuple(Address(addr_spec=address) for address in recipients)
        self._prefix = prefix
        self._formats = formats
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(["html.j2"], default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._plain = environment.get_template("email.txt.j2")
        self._html = environment.get_template("email.html.j2")

    def write(self, message: Message) -> EmailMessage:
        """Returns the mail; its Message-ID is the same whenever the same alert is sent."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._from
        mail["To"] = self._to
        mail["Subject"] = self._subject(message)
        mail["Date"] = datetime.now(UTC)
        mail["Message-ID"] = self._message_id(message)
        mail["Auto-Submitted"] = "auto-generated"
        if message.stored_id is not None:
            mail["X-CoreC-Alert-Id"] = str(message.stored_id)
        mail["X-CoreC-Severity"] = message.severity.key
        if message.severity in _PRIORITIES and not message.recovered:
            mail["X-Priority"] = _PRIORITIES[message.severity]
            mail["Importance"] = "high"
        values = self._values(message)
        # Quoted-printable: short lines and plain ASCII, whatever the server can take.
        mail.set_content(self._plain.render(values), cte="quoted-printable")
        html = self._html.render(values)
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
        return mail

    def _subject(self, message: Message) -> str:
        ending = f" ({message.named})"
        start = f"{self._prefix} {headline(message)}".strip()
        return clip(start, _MAX_SUBJECT - len(ending)) + ending

    def _message_id(self, message: Message) -> str:
        moment = round(event_time(message).timestamp() * 1000)
        kind = "resuelta" if message.recovered else "alerta"
        if message.number:
            kind = f"{message.kind}-{message.number}"
        if message.members:  # another one, as soon as it stands for one alert more
            kind = f"resumen-{message.members}"
        return f"<corec-{kind}-{message.alert_id}-{moment}@{self._from.domain}>"

    def _values(self, message: Message) -> dict[str, Any]:
        utc, local = event_time(message), event_time(message, self._formats.tzinfo)
        times = [
            ("Hora", f"{self._formats.to_the_second(local)} ({self._formats.zone})"),
            ("Hora UTC", f"{self._formats.to_the_second(utc)} UTC"),
        ]
        return {
            "severity": message.label,
            "colour": _RECOVERED if message.recovered else _COLOURS[message.severity],
            "title": shown(message.title),
            "text": shown(message.text),
            "details": [shown(line) for line in message.details],
            "rows": [*facts(message), *times, ("Id de la alerta", message.reference)],
            "data": _pretty(message.event_data),
        }


def _pretty(data: Payload) -> str:
    """Returns the event as bounded, indented JSON; redacted here once more, for safety."""
    try:
        start, whole = _start_of(data)
        text = json.dumps(redact(start), ensure_ascii=False, indent=2, default=str)
    except (RecursionError, TypeError, ValueError):
        return "(no se pueden mostrar los datos del evento)"
    if not whole or len(text) > _MAX_DATA:
        text = f"{text[:_MAX_DATA]}\n… (recortado; el evento completo está en alert_db)"
    return many_lines(text)


def _start_of(data: Payload) -> tuple[dict[str, Any], bool]:
    """Returns the first part of an event, in its own shape, and whether that is all of it.

    It is at least what a mail shows: to redact and write a megabyte takes a third of a second, in
    which nothing else would run.
    """
    left = _MAX_DATA

    def take(value: Any) -> Any:
        nonlocal left
        if isinstance(value, str):
            part = value[: max(left, 0)]
            left -= len(value)
            return part
        left -= 1
        if isinstance(value, Mapping):
            return {take(str(key)): take(item) for key, item in value.items() if left > 0}
        if isinstance(value, list | tuple):
            return [take(item) for item in value if left > 0]
        return value

    start = {take(str(key)): take(item) for key, item in data.items() if left > 0}
    return start, left > 0
