"""Numbers are written as Babel writes them, in every locale that it has."""

from __future__ import annotations

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.decimals import decimal_form
from tests.support.pace import times_as_long

PATTERNS = ("#,##0.####", "#,##0.00", "'$'#,##0.00", "#,##0.00 'US''$'", "0.0#;(0.0#)", "#,##0")
NUMBERS = st.floats(-1e15, 1e15, allow_nan=False) | st.floats(-2000, 2000).map(
    lambda x: round(x, 3)
)


@given(NUMBERS, st.sampled_from(PATTERNS), st.sampled_from(sorted(locale_identifiers())))
def test_as_babel_does(value: float, pattern: str, locale: str) -> None:
    assert decimal_form(pattern, locale).write(value) == format_decimal(
        value, format=pattern, locale=Locale.parse(locale)
    )


@pytest.mark.parametrize("value", [0.0, -0.0, 2.675, -0.125, 999.995, 1e-7, 1e14 + 0.5, -1e15])
@pytest.mark.parametrize("locale", ["es_MX", "es_ES", "en_IN", "hi_IN", "de_CH", "fr_FR", "pl"])
def test_what_is_near_a_border(value: float, locale: str) -> None:
    for pattern in (*PATTERNS, Locale.parse(locale).currency_formats["standard"].pattern):
        written = decimal_form(pattern, locale).write(value)
        assert written == format_decimal(value, format=pattern, locale=Locale.parse(locale))


def test_it_is_much_quicker() -> None:
    form, babels = decimal_form("#,##0.00", "es_MX"), Locale.parse("es_MX")

    def ours() -> None:
        for i in range(300):
            form.write(i + 0.5)

    def theirs() -> None:
        for i in range(300):
            format_decimal(i + 0.5, format="#,##0.00", locale=babels)

    assert times_as_long(theirs, ours) > 3
