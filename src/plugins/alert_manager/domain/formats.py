"""Numbers, money and times as the family reads them, by the locale that it chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime, tokenize_pattern
from babel.numbers import format_decimal

DATE_LETTERS = "dMyE"
TIME_LETTERS = "hmHa"
DEFAULT_ZONE = "America/Mexico_City"
_LARGEST = 1e15  # beyond it a number is told by its size: Babel cannot round it, and nobody counts
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
        """Returns a number with up to four decimals."""
        return self._decimal(value, "#,##0.####")

    def money(self, value: float) -> str:
        """Returns an amount with its symbol."""
        return self._decimal(value, _money_pattern(self.locale, self.currency))

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
        if abs(value) >= _LARGEST:
            return f"{value:g}"
        text = _plain(format_decimal(value, format=pattern, locale=_locale(self.locale)))
        # What is rounded to nothing has no sign.
        return text.removeprefix("-") if not any(digit in text for digit in "123456789") else text

    def _moment(self, moment: datetime, pattern: str) -> str:
        return _plain(format_datetime(moment, pattern, moment.tzinfo, _locale(self.locale)))


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
    if "%" in pattern or not fields <= set(letters) or not set(letters[:2].lower()) <= lower:
        raise ValueError(
            f"se encontró {pattern!r}; se espera una fecha como dd/MM/yyyy (día d, mes M, año y) "
            "o una hora como HH:mm (horas H o h, minutos m, a. m. o p. m. a)"
        )
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
