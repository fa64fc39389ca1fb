"""Numbers by a pattern of Unicode's (CLDR) and a locale, as Babel writes them.

Babel reads the pattern and the locale's signs anew for each number, and an alert tells four.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.numbers import NumberPattern, get_decimal_symbol, get_group_symbol, parse_pattern

_QUOTED = re.compile("'([^']*)'")  # text that is no part of a pattern; two quotes are one


@lru_cache(maxsize=256)
def decimal_form(pattern: str, locale: str) -> DecimalForm:
    """Returns what writes numbers by a pattern, as `#,##0.00`, with the signs of a locale."""
    return DecimalForm(parse_pattern(pattern), Locale.parse(locale))


class DecimalForm:
    """A pattern and a locale's signs, read once."""

    def __init__(self, pattern: NumberPattern, locale: Locale) -> None:
        self._pattern = pattern
        self._locale = locale
        self._before = [_unquoted(text) for text in pattern.prefix]
        self._after = [_unquoted(text) for text in pattern.suffix]
        self._least, most = pattern.frac_prec
        self._rounded = f",.{most}f"
        self._group = get_group_symbol(locale)
        self._point = get_decimal_symbol(locale)
        # Python knows thousands alone; India's lakhs are left to Babel.
        self._by_thousands = pattern.grouping == (3, 3)

    def write(self, value: float) -> str:
        """Returns a finite number of at most 15 digits before the point as text."""
        # By its digits, as Babel: 2.675 is 2.68, though the float is a little less.
        number = Decimal(str(value))
        if not self._by_thousands:
            text: str = self._pattern.apply(number, self._locale)
            return text
        whole, _, places = format(abs(number), self._rounded).partition(".")
        places = places.rstrip("0").ljust(self._least, "0")
        text = whole.replace(",", self._group)
        if places:
            text = f"{text}{self._point}{places}"
        sign = number.is_signed()
        return f"{self._before[sign]}{text}{self._after[sign]}"


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda match: match[1] or "'", text)
