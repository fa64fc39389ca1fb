"""Numbers, money and times as the family reads them, by the locale that it chose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import floor, log10
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime, tokenize_pattern

from .decimals import decimal_form

DATE_LETTERS = "dMyE"
TIME_LETTERS = "hmHa"
DEFAULT_ZONE = "America/Mexico_City"
_ANY_DAY = datetime(2026, 11, 23, 8, 5)  # noqa: DTZ001  (only its form counts)
_LARGEST = 1e15  # beyond it a number is told by its size: Babel cannot round it, and nobody counts
_CENT = 0.01
_MOST_PLACES = 15
_SOMETHING = re.compile("[1-9]")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class Formats:
    """How values are shown.

    Attributes:
        zone: the time zone of all times.
        locale: says which sign separates thousands, where money has its symbol, names of months.
        currency: the symbol of money.
        date: pattern of a day, as `dd/MM/yyyy` (Unicode's, CLDR).
        time: pattern of a time of day, as `HH:mm` or `h:mm a`.
    """

    zone: str = DEFAULT_ZONE
    locale: str = "es_MX"
    currency: str = "$"
    date: str = "dd/MM/yyyy"
    time: str = "HH:mm"

    @property
    def tzinfo(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.zone)

    def number(self, value: float) -> str:
        """Returns a number with up to four decimals; of a very small one, its first digits."""
        return self._decimal(value, f"#,##0.####{'#' * (_places(value) - 4)}")

    def money(self, value: float) -> str:
        """Returns an amount with its symbol; of less than a cent, its first three digits."""
        pattern = _money_pattern(self.locale, self.currency)
        if abs(value) < _CENT:
            pattern = pattern.replace("0.00", f"0.00{'#' * (_places(value) - 2)}")
        return self._decimal(value, pattern)

    def percent(self, value: float) -> str:
        """Returns a percentage; `value` is in percent."""
        return f"{self.number(value)} %"

    def clock(self, moment: datetime) -> str:
        """Returns the time of day."""
        return self._moment(moment, self.time)

    def day_and_clock(self, moment: datetime) -> str:
        """Returns the day and the time of day."""
        return self._moment(moment, f"{self.date} {self.time}")

    def to_the_second(self, moment: datetime) -> str:
        """Returns the day and the time of day with seconds."""
        return self._moment(moment, f"{self.date} {self.time.replace('mm', 'mm:ss')}")

    def local(self, timestamp: float) -> datetime:
        """Returns a moment (epoch seconds) in the family's time zone.

        Raises:
            ValueError, OverflowError, OSError: no calendar has it.
        """
        return datetime.fromtimestamp(timestamp, self.tzinfo)

    def _decimal(self, value: float, pattern: str) -> str:
        return f"{value:g}" if abs(value) >= _LARGEST else _written(value, pattern, self.locale)

    def _moment(self, moment: datetime, pattern: str) -> str:
        return _plain(format_datetime(moment, pattern, moment.tzinfo, _locale(self.locale)))


def _written(value: float, pattern: str, locale: str) -> str:
    text = _plain(decimal_form(pattern, locale).write(value))
    # What is rounded to nothing has no sign.
    return text if _SOMETHING.search(text) else text.removeprefix("-")


def _places(value: float) -> int:
    """Returns the decimals that show the first three digits of a small number; 0 of zero."""
    return 0 if value == 0 else min(_MOST_PLACES, 2 - floor(log10(abs(value))))


def duration(seconds: float) -> str:
    """Returns `2 h 15 min`: the two largest units that say something."""
    left, parts = round(seconds), []
    for unit, length in _UNITS:
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def check_locale(name: str) -> str:
    """Returns the name of a locale.

    Raises:
        ValueError: there is none.
    """
    try:
        Locale.parse(name)
    except (UnknownLocaleError, ValueError, TypeError):
        expected = "se espera por ejemplo es_MX, es_ES o en_US"
        raise ValueError(f"se encontró {name!r}; {expected}") from None
    return name


def check_pattern(pattern: str, letters: str) -> str:
    """Returns the pattern of a day or a time.

    Args:
        pattern: as `dd/MM/yyyy`.
        letters: that it may use; the first two it has to.

    Raises:
        ValueError: it cannot be read, or shows something else.
    """
    fields = {value[0] for kind, value in tokenize_pattern(pattern) if kind == "field"}
    lower = {letter.lower() for letter in fields}
    half = "h" in fields and "a" not in fields  # 4:13 would be either of two times
    known = fields <= set(letters) and set(letters[:2].lower()) <= lower
    if "%" in pattern or half or not known:
        raise ValueError(
            f"se encontró {pattern!r}; se espera una fecha como dd/MM/yyyy (día d, mes M, año y) "
            "o una hora como HH:mm (horas H o h, minutos m, a. m. o p. m. a)"
        )
    try:
        format_datetime(_ANY_DAY, pattern, locale=_locale("es_MX"))
    except (ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise ValueError(f"se encontró {pattern!r}; tiene demasiadas letras seguidas") from None
    return pattern


def _plain(text: str) -> str:
    return text.replace("\xa0", " ").replace("\u202f", " ")  # before `€`, in `a. m.`


@lru_cache(maxsize=64)
def _locale(name: str) -> Locale:
    return Locale.parse(name)


@lru_cache(maxsize=64)
def _money_pattern(locale: str, currency: str) -> str:
    standard: str = _locale(locale).currency_formats["standard"].pattern
    # In quotes: a symbol is text, and never part of the pattern.
    return standard.replace("¤", "'" + currency.replace("'", "''") + "'")
