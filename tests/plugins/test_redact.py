"""Secrets go, whatever their form; what is none stays; and nothing makes it slow."""

from __future__ import annotations

import time

import pytest

from src.plugins.alert_manager.domain.redact import MASK, redact, redact_text

SECRET = "hunter2-K3Y"


@pytest.mark.parametrize(
    "key", ["password", "Contraseña", "x-api-key", "api_key", "clave", "db_dsn", "authorization"]
)
def test_by_key_at_any_depth(key: str) -> None:
    assert redact({"a": [{key: SECRET}]}) == {"a": [{key: MASK}]}


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"{{'password': '{SECRET}'}}",
        f'{{"api_key": "{SECRET}"}}',
        f"contraseña: {SECRET}",
        f"postgres://user:{SECRET}@host/db",
        f"postgres://user:pa@{SECRET}@host/db",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{SECRET}",
        f"https://discord.com/api/webhooks/1188000000000000001/{SECRET}abcdefghijkl",
    ],
)
def test_by_form_inside_text(text: str) -> None:
    assert SECRET not in redact_text(text)


def test_what_is_no_secret_stays() -> None:
    data = {"tipo": "api_error", "message": "Error 503: upstream", "amount": 600.0, "ok": True}
    assert redact(data) == data


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa-", "A", "://a:", "password ", "sk-", "bearer "])
def test_no_text_makes_it_slow(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.perf_counter()
    redact_text(text)
    assert time.perf_counter() - started < 1.0
