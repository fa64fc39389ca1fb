"""The words of an alert: what an event says is put in clean, bounded and without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain import render
from src.plugins.alert_manager.domain.escape import single_line
from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.domain.model import Match, Severity
from src.plugins.alert_manager.domain.render import MISSING, Words, check_template, clean
from src.plugins.alert_manager.rule_settings import RuleSettings
from tests.support.pace import seconds

UTC = Formats(zone="UTC")
SECRET = "correct-horse-battery"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLW9mLWl0"


def said(
    title: str, message: str, data: dict[str, Any], formats: Formats = UTC, **match: Any
) -> tuple[str, str]:
    settings = RuleSettings(name="r", channel="c", severity="alta", title=title, message=message)
    found = Match("r", Severity.ALTA, **match)
    return Words(settings.spec(3600.0, "UTC"), found, "c", data, 1_763_872_000.0, formats).say()[:2]


def test_a_value_is_one_clean_line() -> None:
    text = "uno\r\n\x1b[31mdos\x1b[0m\x00\u2028tres\u202eoculto\u200b"
    assert clean(text) == "uno dos tresoculto"
    assert said("{{ a }}", "{{ a }}.", {"a": text}) == ("uno dos tresoculto", "uno dos tresoculto.")


@given(st.text(st.characters(exclude_categories=()), max_size=1000))
def test_a_value_is_cleaned_as_the_channels_clean_it(text: str) -> None:
    value = clean(text)
    assert value == single_line(value)
    assert len(value) <= 300
    assert not any("\ud800" <= char <= "\udfff" for char in value)  # jsonb and UTF-8 refuse them


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ x }}", MISSING),
        ("{{ n }}", MISSING),
        ("{{ amount|dinero }}", "-$1,234.50"),
        ("{{ amount|absoluto|dinero }}", "$1,234.50"),
        ("{{ amount|numero }}", "-1,234.5"),
        ("{{ amount|porcentaje }}", "-1,234.5 %"),
        ("{{ text|dinero }}", "mucho"),
        ("{{ severidad }} {{ regla }} {{ canal }} {{ fecha.year }}", "alta r c 2025"),
        ("{{ evento.text }}", "mucho"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    data = {"amount": -1234.5, "text": "mucho", "n": None}
    assert said(template, "m", data)[0] == expected


def test_a_template_that_fails_loses_no_alert() -> None:
    title, message = said("{{ 1 / a }}", "m", {"a": 0})
    assert title == "Regla r"
    assert "falló" in message


@pytest.mark.parametrize("title", ["{{ a }}", "{% if a %}{{ a }}{% endif %}"])
def test_a_time_that_no_calendar_has_is_no_reason_to_say_nothing_else(title: str) -> None:
    spec = RuleSettings(name="r", channel="c", severity="alta", title=title, message="{{ fecha }}")
    words = Words(spec.spec(3600.0, "UTC"), Match("r", Severity.ALTA), "c", {"a": "x"}, 1e300, UTC)
    assert render.render(words, title) == "x"
    assert words.say().title == "Regla r"


def test_a_fault_of_ours_loses_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(text: str) -> str:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(render, "says_nothing", fails)
    monkeypatch.setattr(render, "redact_text", fails)
    words = ("Regla r", "Las palabras de r fallaron: RuntimeError.")
    assert said("{{ a }}", "{{ a }}", {"a": SECRET}) == words
    assert said("{{ a }}", "{{ a }}", {"a": SECRET}, value=SECRET, invalid=True) == words


def test_a_template_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ValueError, match="plantilla inválida"):
        check_template("{{ a ")
    with pytest.raises(ValueError, match=r"plantilla inválida.*~"):
        check_template("{{ a ~ ' en ' + b }}")


@pytest.mark.parametrize("name", ["clave='", 'token="', "clave:", "Authorization: "])
def test_no_value_hides_what_the_sentence_says_behind_it(name: str) -> None:
    template = "{{ u }} retiró {{ amount|dinero }} del pool, dice '{{ u }}'."
    message = said("t", template, {"u": name, "amount": 9000})[1]
    assert "retiró $9,000.00 del pool" in message


def test_a_secret_that_only_the_sentence_shows_is_hidden() -> None:
    # Neither field is a secret by itself; a hidden character kept the second from being one.
    data = {"a": SECRET, "b": f"pass\u200bword={SECRET}"}
    title, message = said("token: {{ a }}", "dijo {{ b }}", data)
    assert SECRET not in title + message
    assert "[oculto]" in title
    assert "[oculto]" in message


@pytest.mark.parametrize("before", [0, 200, 260, 290, 299])
def test_an_invalid_value_shows_no_part_of_a_secret(before: int) -> None:
    value = "x" * before + f" {JWT}"
    _, message = said("t", "m", {}, value=value, invalid=True)
    assert "eyJ" not in message
    assert "esperaba un número" in message


def test_a_huge_value_is_not_cleaned_as_a_whole() -> None:
    huge = {"a": "a_b \x1b[1m" * 5_000_000}
    assert said("{{ a }}", "{{ evento }}", huge)[0].endswith("…")
    # 3 s when all of it was cleaned
    assert seconds(lambda: said("{{ a }}", "{{ evento }}", huge)) < 1.0


def test_no_event_fills_the_memory() -> None:
    def says() -> None:
        title, message = said(
            "{{ a * b }}", "{{ a % b }}{{ a ** b }}", {"a": "%999999999d", "b": 10**9}
        )
        assert title == "Regla r"
        assert "La plantilla de r falló (no es un número: %999999999d)" in message
        assert said("{{ a * b }}", "{{ a + 1 }}", {"a": "2.5", "b": 2}) == ("5.0", "3.5")
        assert said("{{ a|length - 1 }}", "{{ b / 2 }}", {"a": [1, 2], "b": 3}) == ("1", "1.5")

    assert seconds(says) < 0.5


def test_no_argument_of_an_event_makes_a_filter_slow_or_large() -> None:
    event = {"n": -(10**8), "w": 10**9, "s": "a" * 10**6, "p": 5.678}

    def says() -> None:
        rounded = said("{{ p|round(1) }}", "{{ p|round(n) }} {{ p|round(2, 'floor') }}", event)
        assert rounded == ("5.7", "0.0 5.67")
        assert len(said("{{ s|replace('a', s) }}", "{{ [s, s]|join(s) }}", event)[1]) < 2000
        for method in ("s.center(w)", "s.ljust(w)", "s.zfill(w)", "'{:>{}}'.format(s, w)"):
            assert said("{{ " + method + " }}", "m", event)[0] == "Regla r"
        assert said("{{ s.upper()|truncate(9) }}", "{{ s[:3] }}", event) == ("AAAAAA...", "aaa")
        for name in ("center(w)", "indent(w)", "format(w)", "wordwrap(w)", "batch(w)", "random"):
            with pytest.raises(ValueError, match="plantilla inválida"):
                check_template("{{ s|" + name + " }}")

    assert seconds(says) < 1.0
