from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from src.core.fallback import chat, reason
from src.utils.payload import (
    PayloadError,
    encode_frame,
    encode_json,
    mask,
    readable,
    without_secrets,
)
from tests.support.secret_cases import KEYS, PLAIN, SECRET, TEXTS

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _JSON))
def test_a_frame_decodes_back(payload: dict[str, Any]) -> None:
    frame = encode_frame(encode_json(payload))
    assert json.loads(zstandard.ZstdDecompressor().decompress(frame)) == payload


def _endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"a": {"b": [1, Decimal("1")]}}, r"\$\.a\.b\[1\]: se encontró un valor de tipo Decimal"),
        ({"a": float("nan")}, r"\$\.a: se encontró nan"),
        ({"a": [float("-inf")]}, r"\$\.a\[0\]: se encontró -inf"),
        ({"a": {(1, 2): 3}}, r"\$\.a: se encontró una clave de tipo tuple"),
        ({"a": b"x"}, r"\$\.a: se encontró un valor de tipo bytes"),
        (_endless(), "un anidamiento sin fin"),
    ],
)
def test_what_is_no_json_is_named(payload: dict[str, Any], expected: str) -> None:
    with pytest.raises(PayloadError, match=expected):
        encode_json(payload)


def test_secrets_are_hidden() -> None:
    shown = repr(
        without_secrets(
            {
                "Password": "s3creto",
                "nested": [{"api_key": "s3creto", "webhook_url": "s3creto"}],
                "text": "redis://u:s3creto@host y password=s3creto fin",
                "symbol": "BTC",
            }
        )
    )
    assert "s3creto" not in shown
    assert "BTC" in shown
    assert "fin" in shown


@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_hidden_by_its_key(key: str) -> None:
    assert SECRET not in repr(without_secrets({"a": [{key: SECRET}]}))


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_is_hidden_by_its_form(text: str) -> None:
    assert SECRET not in mask(text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_secrets_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa-", "A", "://a:", "password ", "sk-", "bearer "])
def test_no_text_makes_masking_slow(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.process_time()
    mask(text)
    assert time.process_time() - started < 2.0


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 << 20_000, "<entero de 20001 bits>"),
        (Unspeakable(), "<Unspeakable>"),
        ({1 << 20_000: 1}, {"<entero de 20001 bits>": 1}),
        ({Unspeakable(): 1}, {"<Unspeakable>": 1}),
        ({(1, 2): float("nan")}, {"[1, 2]": "nan"}),
    ],
    ids=lambda _: "",  # pytest could not name them
)
def test_any_value_has_a_readable_form(value: object, expected: object) -> None:
    assert readable({"v": value}) == {"v": expected}
    assert encode_json(readable({"v": value}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h/d", "postgresql://***@h/d"),
        ("host=h password='a b' user=u", "host=h password=*** user=u"),
        ("http://h/a?b=c@d", "http://h/a?b=c@d"),
    ],
)
def test_mask(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_fallback_says_that_there_is_no_engine_and_sums_up() -> None:
    answer = reason({"symbol": "BTC", "password": "s3creto", "deep": {"a": 1, "b": 2}}, {})
    assert answer["estado"] == "sin_motor"
    assert "No hay ningún motor de razonamiento" in answer["respuesta"]
    assert "symbol = BTC" in answer["respuesta"]
    assert "deep = {2 campos}" in answer["respuesta"]
    assert "s3creto" not in repr(answer)
    said = chat("¿Cómo va?", None)
    assert "«¿Cómo va?»" in said["respuesta"]
