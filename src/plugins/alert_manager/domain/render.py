"""Words: turns a match into the title and the message that people read, with Jinja2.

Templates come from the configuration and values from events, so the environment is sandboxed and
every value is cleaned as it is put in: no control characters, no line breaks, bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import ChainableUndefined, TemplateError

from .escape import ELLIPSIS, single_line
from .formats import Formats, duration
from .model import Match, Payload
from .numbers import as_number
from .outcome import Said
from .redact import redact_text, says_nothing
from .rule_spec import RuleSpec
from .sandbox import Sandbox, check_constants
from .templates import Fill, Given, compile_template

MISSING = "sin dato"
_MAX_VALUE = 300  # characters of one value inside a message
_MAX_TITLE = 200
_OPEN_END = re.compile(r"\s*[=:]\s*[\"']?\s*$")
_RECOVERED = "Volvió a la normalidad."
_MAX_MESSAGE = 2000
_ANY = Formats()
_SHORT = 100  # characters of a text that is worth remembering
_MAX_READ = 4000  # characters of one value that are looked at; a payload may hold a megabyte


class _Missing(ChainableUndefined):
    """A field that the event does not have: said in words, instead of a hole in the sentence."""

    def __str__(self) -> str:
        return MISSING


def clean(value: Any) -> str:
    """Returns a value as one bounded line of text."""
    if type(value) is str and len(value) <= _SHORT:
        return _cleaned_text(value)
    return _cleaned(value)


def _cleaned(value: Any) -> str:
    line = _line(value)
    if "=" in line or ":" in line:
        # Who is called `clave=` would hide what a sentence says behind it.
        line = _OPEN_END.sub("", line)
    return _cut(line, _MAX_VALUE)


# Names of users and symbols, and amounts, of which a title and its message tell the same.
_cleaned_text = lru_cache(maxsize=4096)(_cleaned)


def _line(value: Any) -> str:
    return single_line(MISSING if value is None else str(value)[:_MAX_READ])


def _with_number(form: Callable[[float], str]) -> Callable[[Any], str]:
    # A title and its message tell the same value, and all alerts of a rule the same threshold.
    written = lru_cache(maxsize=1024)(form)

    def apply(value: Any) -> str:
        number = as_number(value)
        return clean(value) if number is None else written(number)

    return apply


def _with_time(form: Callable[[datetime], str]) -> Callable[[Any], str]:
    return lambda value: form(value) if isinstance(value, datetime) else clean(value)


@lru_cache(maxsize=16)
def environment_of(formats: Formats) -> Sandbox:
    """Returns what reads and fills the templates of a family with these formats."""
    environment = Sandbox(
        undefined=_Missing, finalize=clean, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "dinero": _with_number(formats.money),
        "numero": _with_number(formats.number),
        "porcentaje": _with_number(formats.percent),
        "duracion": _with_number(duration),
        "hora": _with_time(formats.clock),
        "dia_y_hora": _with_time(formats.day_and_clock),
        "absoluto": lambda value: value if (n := as_number(value)) is None else abs(n),
    }
    return environment


@lru_cache(maxsize=512)
def _compiled(source: str, formats: Formats) -> Fill:
    return compile_template(environment_of(formats), source, _GIVEN)


@lru_cache(maxsize=512)  # where one rule changed, the others' are not checked again
def check_template(source: str) -> None:
    """Checks that a template can be read.

    Raises:
        ValueError: says what Jinja2 found, and in which line.
    """
    try:
        compile_template(environment_of(_ANY), source, _GIVEN)
        check_constants(environment_of(_ANY).parse(source))
    except (TemplateError, ValueError) as error:
        raise ValueError(f"plantilla inválida {source!r}: {error}") from None


def render(words: Words, template: str) -> str:
    """Returns one line of text about an alert.

    The template sees the event's fields by name, and `valor`, `umbral`, `antes` (what a change is
    measured from), `ultimo` (when the last event came, where one is awaited now), `severidad`,
    `regla`, `canal`, `fecha` (a datetime in the family's time zone) and `evento` (all fields).

    Raises:
        jinja2.TemplateError: the template failed on this event.
    """
    text = _compiled(template, words.formats)(words)
    # Nearly always it is one line already.
    one_line = text.isprintable() and "  " not in text
    return text.strip() if one_line else " ".join(text.split())


class Words(msgspec.Struct, frozen=True, gc=False):
    """What the title and the message of an alert are made of.

    Attributes:
        data: the redacted payload.
        timestamp: epoch seconds.
    """

    spec: RuleSpec
    match: Match
    channel: str
    data: Payload
    timestamp: float
    formats: Formats

    def say(self) -> Said:
        """Returns the words; no template that fails loses the alert, and no fault of ours."""
        try:
            return self._said()
        except Exception as error:  # noqa: BLE001  (else the commit would fail, and again for ever)
            rule = self.match.rule
            return Said(
                f"Regla {rule}", f"Las palabras de {rule} fallaron: {type(error).__name__}."
            )

    def _said(self) -> Said:
        if self.match.invalid:
            return _invalid(self.match, self.channel)
        title, message = self._rendered(self.spec.title, self.spec.message)
        others = {name: self._rendered(*words) for name, words in self.spec.words.items()}
        return Said(title, message, others)

    def _rendered(self, title: str, message: str) -> tuple[str, str]:
        rule = self.match.rule
        try:
            title, message = render(self, title), render(self, message)
        except Exception as error:  # noqa: BLE001  (a template may fail in any way on any event)
            title = f"Regla {rule}"
            message = f"La plantilla de {rule} falló ({clean(error)}); evento: {clean(self.data)}"
        # Once more: what was no secret field by field can be one in the sentence.
        if not says_nothing(f"{title}\n{message}"):
            title, message = redact_text(title), redact_text(message)
        return _cut(title, _MAX_TITLE), _cut(message, _MAX_MESSAGE)


_GIVEN: Given = {
    "evento": lambda words: words.data,
    "valor": lambda words: words.match.value,
    "umbral": lambda words: words.match.threshold,
    "antes": lambda words: words.match.before,
    "ultimo": lambda words: (
        None if words.match.last is None else words.formats.local(words.match.last)
    ),
    "severidad": lambda words: words.match.severity.label,
    "regla": lambda words: words.match.rule,
    "canal": lambda words: words.channel,
    "fecha": lambda words: words.formats.local(words.timestamp),
}


def recovery(words: Words) -> str:
    """Returns the sentence that says that an alert is over."""
    if words.spec.recovery is None:
        return _RECOVERED
    try:
        text = render(words, words.spec.recovery)
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
