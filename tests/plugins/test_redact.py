"""Secrets go, whatever their form; what is none stays; and nothing makes it slow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain import redact as module
from src.plugins.alert_manager.domain.redact import (
    MASK,
    counterpart,
    redact,
    redact_text,
    says_nothing,
)
from tests.support.pace import seconds, times_as_long
from tests.support.secret_cases import KEYS, PLAIN, SECRET, TEXTS


@pytest.mark.parametrize("key", KEYS)
def test_by_key_at_any_depth(key: str) -> None:
    assert redact({"a": [{key: SECRET}]}) == {"a": [{key: MASK}]}


@pytest.mark.parametrize("text", TEXTS)
def test_by_form_inside_text(text: str) -> None:
    assert SECRET not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-AbCdEfGhIjKlMnOpQr_StUvWxYz0123456789-abcdefghijkl",
        "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
        "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789",
        "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "AIzaSyD-1234567890abcdefghijklmnopqrstu",
        "SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
        "ASIAIOSFODNN7EXAMPLE",
        "glpat-abcdefghijklmnopqrst",
    ],
)
def test_keys_of_well_known_services(text: str) -> None:
    assert redact_text(f"401 con {text} en x") == f"401 con {MASK} en x"


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cobro 4111 1111 1111 1111 12/27", "cobro [oculto 411111…1111] 12/27"),
        ("4111111111111111 123", "[oculto 411111…1111] 123"),
        ("ana,4111111111111111,12/27", "ana,[oculto 411111…1111],12/27"),
        ("2 4111-1111-1111-1111 5555555555554444", "2 [oculto 411111…1111] [oculto 555555…4444]"),
        ("1 2 3 4 5 6 7 8 9 10 11 12", "1 2 3 4 5 6 7 8 9 10 11 12"),
    ],
)
def test_a_card_is_found_beside_other_numbers(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_a_quote_that_nobody_closes_hides_no_sentence() -> None:
    assert redact_text("clave='x y retiró $9,000 del pool") == f"{MASK} y retiró $9,000 del pool"
    assert redact_text("clave='x y' retiró") == f"{MASK} retiró"


def test_a_value_is_shown_as_its_place_in_the_event_allows() -> None:
    data = {"amount": {"pin": 4321, "value": 600}, "password": ["abc"], "list": [{"note": "n"}]}
    safe = redact(data)
    assert counterpart(data, safe, data["amount"]) == {"pin": MASK, "value": 600}
    assert counterpart(data, safe, data["password"]) == MASK
    assert counterpart(data, safe, data["list"][0]) == {"note": "n"}  # type: ignore[index]
    assert counterpart(data, safe, object()) == MASK


def test_a_coin_is_no_secret() -> None:
    data = {"action": "withdraw", "token": "BTC", "access_token": "BTC"}
    assert redact(data) == {**data, "access_token": MASK}
    for secret in ("abc", "B7C", "ABCDEFGH"):
        assert redact({"token": secret}) == {"token": MASK}


def test_what_is_no_secret_stays() -> None:
    data = {"tipo": "api_error", "message": "Error 503: upstream", "amount": 600.0, "ok": True}
    assert redact(data) == data


@pytest.mark.parametrize(
    "unit", ["4111111111111111 ", "4 ", "eyJaaaaaaaa-", "A", "://a:", "password ", "sk-", "bearer "]
)
def test_no_text_makes_it_slow(unit: str) -> None:
    longer, shorter = (unit * 100_000)[:100_000], (unit * 10_000)[:10_000]
    assert seconds(lambda: redact_text(longer)) < 1.0
    # Squared, it would be a hundred times as long.
    assert times_as_long(lambda: redact_text(longer), lambda: redact_text(shorter), tries=3) < 30


# The first digit as networks write it, the others as Arabs do.
ARABIC = "4" + "".join(chr(ord(digit) - ord("0") + 0x660) for digit in "111111111111111")
PIECES = st.sampled_from(
    [
        *TEXTS,
        *PLAIN,
        *KEYS,
        ARABIC,
        "4111 1111 1111 1111",
        "4111-1111",
        "\0",
        "\ud800",
        "pa",
        "ss=hola",
    ]
)
VALUES = (
    PIECES
    | st.text(max_size=20)
    | st.floats()
    | st.booleans()
    | st.none()
    | st.integers()
    | st.sampled_from([4111111111111111, -4111111111111111, 10**12, 10**31, b"x", (1, "sk-")])
)


@given(st.dictionaries(PIECES | st.text(max_size=8) | st.integers(), VALUES, max_size=8))
def test_a_glance_finds_what_a_look_at_each_field_finds(data: dict[Any, Any]) -> None:
    one_by_one = redact({**data, "dentro de": {}})  # what is not flat is looked at field by field
    assert repr(redact(data)) == repr({k: v for k, v in one_by_one.items() if k != "dentro de"})


@given(st.lists(VALUES, max_size=8))
def test_a_glance_at_a_list_finds_what_a_look_at_each_item_finds(values: list[Any]) -> None:
    each = [redact({"x": value})["x"] for value in values]
    assert repr(redact({"x": values})["x"]) == repr(each)


@given(st.dictionaries(PIECES | st.text(max_size=8), VALUES, max_size=3))
def test_a_glance_at_many_keys_finds_what_a_look_at_each_finds(data: dict[Any, Any]) -> None:
    many = {f"campo {number}": number for number in range(100)}
    assert repr(redact({**data, **many})) == repr({**redact(data), **many})


@given(PIECES, PIECES)
def test_what_is_long_is_redacted_as_what_is_short_is(first: str, second: str) -> None:
    rest = " fin" * 5000
    assert redact_text(f"{first} {second}{rest}") == redact_text(f"{first} {second}") + rest


@given(PIECES, PIECES)
def test_a_text_that_says_nothing_stays_as_it_is(first: str, second: str) -> None:
    text = f"{first}{second}"
    assert not says_nothing(text) or redact_text(text) == text


def test_a_card_in_other_digits_goes() -> None:
    assert ARABIC not in redact({"note": ARABIC})["note"]
    assert not says_nothing(ARABIC)


class Text(str):
    __slots__ = ()


def test_only_plain_texts_are_keys_whatever_came_before() -> None:
    assert redact({"a": 1}) == {"a": 1}
    [key] = redact({Text("a"): 1})
    assert type(key) is str


def test_what_the_writer_changes_later_changes_nothing() -> None:
    data: dict[str, Any] = {"a": 1, "n": {"b": 1}}
    safe = redact(data), redact(data["n"])
    data["n"]["password"] = data["password"] = "hola"
    assert safe == ({"a": 1, "n": {"b": 1}}, {"b": 1})


def test_kinds_of_payloads_fill_no_memory() -> None:
    for number in range(2000):
        redact({f"campo {number}": 1})
    redact({f"campo {number}": 1 for number in range(1000)})
    redact({"x" * 10_000: 1})
    assert len(module._harmless) <= module._MOST_KINDS
    assert max(len(keys) for keys in module._harmless) <= module._MANY
    assert max(len(key) for keys in module._harmless for key in keys) <= module._SHORT
