"""Words: turns a match into the title and the message that people read, with Jinja2.

Templates come from the configuration and values from events, so the environment is sandboxed and
every value is cleaned as it is put in: no control characters, no line breaks, bounded length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import ChainableUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .escape import ELLIPSIS, single_line
from .model import Match, Payload
from .numbers import as_number
from .outcome import Said
from .redact import redact_text
from .rule_spec import RuleSpec

MISSING = "sin dato"
_MAX_VALUE = 300  # characters of one value inside a message
_MAX_TITLE = 200
_RECOVERED = "Volvió a la normalidad."
_MAX_MESSAGE = 2000
_MAX_READ = 4000  # characters of one value that are looked at; a payload may hold a megabyte


class _Missing(ChainableUndefined):
    """A field that the event does not have: said in words, instead of a hole in the sentence."""

    def __str__(self) -> str:
        return MISSING


def clean(value: Any) -> str:
    """Returns a value as one bounded line of text."""
    return _cut(_line(value), _MAX_VALUE)


def _line(value: Any) -> str:
    return single_line(MISSING if value is None else str(value)[:_MAX_READ])


def _with_number(form: Callable[[float], str]) -> Callable[[Any], str]:
    def apply(value: Any) -> str:
        number = as_number(value)
        return clean(value) if number is None else form(number)

    return apply


def _plain(number: float) -> str:
    text = f"{number:,.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _duration(seconds: float) -> str:
    """Returns `2 h 15 min`: the two largest units that say something."""
    left, parts = round(seconds), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _clock(value: Any, form: str) -> str:
    return value.strftime(form) if isinstance(value, datetime) else clean(value)


_environment = ImmutableSandboxedEnvironment(
    undefined=_Missing, finalize=clean, autoescape=False, trim_blocks=True, lstrip_blocks=True
)
_environment.filters |= {
    "dinero": _with_number(lambda n: f"{'-' if n < 0 else ''}${abs(n):,.2f}"),
    "numero": _with_number(_plain),
    "porcentaje": _with_number(lambda n: f"{_plain(n)} %"),
    "duracion": _with_number(_duration),
    "hora": lambda value: _clock(value, "%H:%M"),
    "dia_y_hora": lambda value: _clock(value, "%d/%m/%Y %H:%M"),
    "absoluto": lambda value: value if (n := as_number(value)) is None else abs(n),
}


@lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    return _environment.from_string(source)


def check_template(source: str) -> None:
    """Checks that a template can be read.

    Raises:
        ValueError: says what Jinja2 found, and in which line.
    """
    try:
        _compiled(source)
    except TemplateError as error:
        raise ValueError(f"plantilla inválida {source!r}: {error}") from None


def render(template: str, match: Match, channel: str, data: Payload, when: datetime) -> str:
    """Returns one line of text.

    The template sees the event's fields by name, and `valor`, `umbral`, `antes` (what a change is
    measured from), `ultimo` (when the last event came, where one is awaited now), `severidad`,
    `regla`, `canal`, `fecha` (a datetime in the family's time zone) and `evento` (all fields).

    Raises:
        jinja2.TemplateError: the template failed on this event.
    """
    values: Mapping[str, Any] = {
        **data,
        "evento": data,
        "valor": match.value,
        "umbral": match.threshold,
        "antes": match.before,
        "ultimo": None if match.last is None else datetime.fromtimestamp(match.last, when.tzinfo),
        "severidad": match.severity.label,
        "regla": match.rule,
        "canal": channel,
        "fecha": when,
    }
    return " ".join(_compiled(template).render(values).split())


@dataclass(frozen=True, slots=True)
class Words:
    """What the title and the message of an alert are made of.

    Attributes:
        data: the redacted payload.
        timestamp: epoch seconds.
        zone: a time zone's name.
    """

    spec: RuleSpec
    match: Match
    channel: str
    data: Payload
    timestamp: float
    zone: str

    def say(self) -> Said:
        """Returns the title and the message; a template that fails never loses the alert."""
        match, channel, data = self.match, self.channel, self.data
        if match.invalid:
            return _invalid(match, channel)
        when = datetime.fromtimestamp(self.timestamp, ZoneInfo(self.zone))
        try:
            title = render(self.spec.title, match, channel, data, when)
            message = render(self.spec.message, match, channel, data, when)
        except Exception as error:  # noqa: BLE001  (a template may fail in any way on any event)
            title = f"Regla {match.rule}"
            message = f"La plantilla de {match.rule} falló ({clean(error)}); evento: {clean(data)}"
        # Once more: what was no secret field by field can be one in the sentence.
        return Said(_cut(redact_text(title), _MAX_TITLE), _cut(redact_text(message), _MAX_MESSAGE))


def recovery(
    spec: RuleSpec, match: Match, channel: str, data: Payload, timestamp: float, zone: str
) -> str:
    """Returns the sentence that says that an alert is over; arguments as those of `Words`."""
    if spec.recovery is None:
        return _RECOVERED
    when = datetime.fromtimestamp(timestamp, ZoneInfo(zone))
    try:
        text = render(spec.recovery, match, channel, data, when)
    except Exception as error:  # noqa: BLE001  (as above)
        text = f"{_RECOVERED} (la plantilla recovery falló: {clean(error)})"
    return _cut(redact_text(text), _MAX_MESSAGE)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + ELLIPSIS


def _invalid(match: Match, channel: str) -> Said:
    # Redacted before it is cut: half a secret has no form by which it would be recognised.
    found = _cut(redact_text(_line(match.value)), _MAX_VALUE)
    return Said(
        f"Valor inválido en {channel}",
        f"La regla {match.rule} esperaba un número y encontró «{found}»: no se puede juzgar el "
        "evento, y puede ocultar un problema real. Revisa el plugin que lo publica.",
    )
