from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.escape import (
    clip,
    discord_text,
    is_visible,
    many_lines,
    masked_address,
    single_line,
    utf16_length,
)

anything = st.text(st.characters(exclude_categories=()), max_size=300)
markdown = st.text("\\*_~`|[]()<>@#:/-+.1 aeyonhr\n", max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mrojo\x1b[0m", "rojo"),
        ("\x9b1;31mrojo", "rojo"),
        ("uno\r\ndos\ttres", "uno dos tres"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("\x1b]0;título\x07fin", "fin"),
        ("\x1b]8;;http://x\x1b\\enlace", "enlace"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("pass\u200bword", "password"),
        ("\x1b", ""),
        ("\ud800", "\ufffd"),
        ("👨\u200d👩\u200d👧 ñandú", "👨\u200d👩\u200d👧 ñandú"),
    ],
)
def test_single_line(text: str, expected: str) -> None:
    assert single_line(text) == expected


@given(anything)
def test_a_single_line_holds_nothing_that_moves_the_cursor(text: str) -> None:
    line = single_line(text)
    assert line.splitlines() in ([], [line])
    assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert single_line(line) == line


def test_many_lines_keeps_newlines_and_indentation_only() -> None:
    assert many_lines('{\n  "a": "\x1b[31mb\x07\x7f"\n}') == '{\n  "a": " b "\n}'


@given(anything, st.integers(1, 50))
def test_clip_stays_within_utf16_units(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert utf16_length(clipped) <= limit
    assert clipped == text or clipped.endswith("…")


def test_utf16_length_counts_as_javascript_does() -> None:
    assert utf16_length("a😀ñ") == len("a😀ñ".encode("utf-16-le")) // 2 == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**a** _b_ ~~c~~ `d` ||e||", r"\*\*a\*\* \_b\_ \~\~c\~\~ \`d\` \|\|e\|\|"),
        ("[clic](https://x.example)", r"\[clic\](https\://x.example)"),
        ("https://x.example", r"https\://x.example"),
        ("<@123> <#4> <@&5> <:a:6> <t:0>", r"\<@123> \<#4> \<@&5> \<\:a:6> \<t:0>"),
        ("@everyone y @HERE", "@\u200beveryone y @\u200bHERE"),
        ("ana@ejemplo.mx", "ana@ejemplo.mx"),
        ("# título", r"\# título"),
        ("-# pequeño", r"\-# pequeño"),
        ("- lista", r"\- lista"),
        ("> cita", r"\> cita"),
        ("1. uno", r"1\. uno"),
        (":fire: a las 12:30:45", r"\:fire: a las 12:30:45"),
        ("-150.5 USDT", r"\-150.5 USDT"),
        ("\\", r"\\"),
        ("uno\n# dos", "uno # dos"),
        ("\u200b \n", "—"),
        ("", "—"),
    ],
)
def test_discord_text(text: str, expected: str) -> None:
    assert discord_text(text, 1000) == expected


@given(anything | markdown, st.integers(1, 60))
def test_discord_text_is_bounded_visible_and_inert(text: str, limit: int) -> None:
    shown = discord_text(text, limit)
    assert utf16_length(shown) <= limit
    assert is_visible(shown)
    unescaped = re.sub(r"\\[^0-9A-Za-z\s]", "", shown)
    assert not re.search(r"[*_~`|\[\]<\\]|://|@(everyone|here)", unescaped, re.IGNORECASE)


@given(markdown)
def test_discord_shows_what_was_written(text: str) -> None:
    shown = discord_text(text, 1000).replace("\u200b", "")
    rendered = re.sub(r"\\([^0-9A-Za-z\s])", r"\1", shown)
    assert rendered == (single_line(text) or "—")


def test_masked_address() -> None:
    assert masked_address("ana.lopez@ejemplo.mx") == "a***@ejemplo.mx"
