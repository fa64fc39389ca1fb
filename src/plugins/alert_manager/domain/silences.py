"""Silences: which alerts people are not told of for a while. The record stays whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .model import Payload, Severity
from .paths import lookup, parse_path
from .patterns import PatternError, check_pattern, matches_all
from .time_intervals import Intervals

_MATCHER = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_OWN = ("rule", "severity", "channel")  # of the alert; every other name is a field of its event


class Matcher(NamedTuple):
    """A condition on a field of an alert: `=`, `!=`, or a whole match of a regular expression."""

    field: str
    operator: str
    value: str


def parse_matcher(text: str) -> Matcher:
    """Reads `symbol=~BTC.*`.

    Raises:
        ValueError: says what is expected.
    """
    found = _MATCHER.fullmatch(text) if text.isprintable() else None
    if found is None:
        raise ValueError(f"se encontró {text!r}; se espera campo=valor, !=, =~ o !~")
    field, operator, value = found.groups()
    if field not in _OWN:
        parse_path(field)
    if field == "severity" and operator in ("=", "!="):
        value = Severity.parse(value).key
    if operator in ("=~", "!~"):
        if field == "severity":
            value = value.replace("í", "i")  # as it is stored
        try:
            check_pattern(value)
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
    return Matcher(field, operator, value)


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts of which people are not told.

    Attributes:
        matchers: all of them have to hold; at least one.
        starts: epoch seconds.
        ends: epoch seconds; None: until somebody ends it.
        weekly: when it counts between the two; None: all the time.
    """

    number: int
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float | None = None
    weekly: Intervals | None = None

    def counts(self, now: float) -> bool:
        """Says whether it counts at a moment (epoch seconds)."""
        if now < self.starts or (self.ends is not None and now >= self.ends):
            return False
        return self.weekly is None or self.weekly.latest(now) >= now

    def covers(self, rule: str, severity: Severity, channel: str, data: Payload) -> bool:
        """Says whether it is about such an alert; `data` is the redacted payload."""
        own = {"rule": rule, "severity": severity.key, "channel": channel}
        return all(_holds(matcher, own, data) for matcher in self.matchers)


class Silences(NamedTuple):
    """The silences that count now, or will.

    Attributes:
        now: the server's time (epoch seconds).
        ahead: the server's clock, of our monotonic one (seconds).
    """

    all: tuple[Silence, ...]
    now: float
    ahead: float

    @property
    def version(self) -> str:
        """Their numbers: another one as soon as one is added, ended, or over."""
        return " ".join(str(silence.number) for silence in self.all)

    @property
    def counting(self) -> list[Silence]:
        """Those that count now."""
        return [silence for silence in self.all if silence.counts(self.now)]


def first_covering(
    silences: Iterable[Silence], rule: str, severity: Severity, channel: str, data: Payload
) -> int | None:
    """Returns the number of the first silence that covers an alert, or None."""
    covering = (s.number for s in silences if s.covers(rule, severity, channel, data))
    return next(covering, None)


def _holds(matcher: Matcher, own: Mapping[str, str], data: Payload) -> bool:
    found = own.get(matcher.field)
    text = _text(lookup(data, parse_path(matcher.field))) if found is None else found
    match matcher.operator:
        case "=":
            return text == matcher.value
        case "!=":
            return text != matcher.value
        case "=~":
            return _matches(matcher.value, text) is True
    return _matches(matcher.value, text) is False


def _text(value: Any) -> str:
    """Returns a value as people write it; what is not there is empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(source: str, text: str) -> bool | None:
    try:
        return matches_all(source, text)
    except PatternError:  # stored by another version of ours: better told than silenced
        return None
