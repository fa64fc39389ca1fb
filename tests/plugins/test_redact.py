"""Secrets go, whatever their form; what is none stays; and nothing makes it slow."""

from __future__ import annotations

import time

import pytest

from src.plugins.alert_manager.domain.redact import MASK, redact, redact_text
from tests.support.secret_cases import KEYS, PLAIN, SECRET, TEXTS


@pytest.mark.parametrize("key", KEYS)
def test_by_key_at_any_depth(key: str) -> None:
    assert redact({"a": [{key: SECRET}]}) == {"a": [{key: MASK}]}


@pytest.mark.parametrize("text", TEXTS)
def test_by_form_inside_text(text: str) -> None:
    assert SECRET not in redact_text(text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_secrets_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_is_no_secret_stays() -> None:
    data = {"tipo": "api_error", "message": "Error 503: upstream", "amount": 600.0, "ok": True}
    assert redact(data) == data


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa-", "A", "://a:", "password ", "sk-", "bearer "])
def test_no_text_makes_it_slow(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.perf_counter()
    redact_text(text)
    assert time.perf_counter() - started < 1.0
