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


# Numbers that networks publish for tests.
CARDS = {
    "4111111111111111": "[oculto 411111…1111]",
    "4222222222222": "[oculto …2222]",
    "5555555555554444": "[oculto 555555…4444]",
    "2223003122003222": "[oculto 222300…3222]",
    "378282246310005": "[oculto 378282…0005]",
    "30569309025904": "[oculto …5904]",
    "6011111111111117": "[oculto 601111…1117]",
    "3530111333300000": "[oculto 353011…0000]",
    "6250941006528599": "[oculto 625094…8599]",
}


@pytest.mark.parametrize(("number", "mask"), CARDS.items())
def test_a_card_number_goes_however_it_is_written(number: str, mask: str) -> None:
    grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
    for written in (number, grouped, grouped.replace(" ", "-")):
        assert redact_text(f"pagó con {written}, gracias") == f"pagó con {mask}, gracias"
    assert redact({"a": [int(number)], "b": number}) == {"a": [mask], "b": mask}
    assert redact_text(mask) == mask


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # its check digit is wrong
        "1763872000000000",  # microseconds
        "312269865356374016",  # an order of an exchange
        "0.4111111111111111",
        "4111111111111111.5",
        "35000.50 BTC/USDT 2026-11-23 10:15:00",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redact_text(text) == text


def test_what_is_no_secret_stays() -> None:
    data = {"tipo": "api_error", "message": "Error 503: upstream", "amount": 600.0, "ok": True}
    assert redact(data) == data


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa-", "A", "://a:", "password ", "sk-", "bearer "])
def test_no_text_makes_it_slow(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.process_time()
    redact_text(text)
    assert time.process_time() - started < 1.0
