"""Payloads: every form is read, nothing hostile gets through, every refusal has a reason."""

from __future__ import annotations

import gzip
import json
import math
import time
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.decode import DecodeError, Decoder, Limits
from tests.plugins.payloads import ENCODINGS, SPEC_INNER, SPEC_MACRO, shell_wrapped, to_json
from tests.support.pace import slowness

SMALL = Limits(max_bytes=4096, max_members=5, max_depth=8)
DATA = {"tipo": "circuit_breaker_tripped", "plugin": "trading_execution", "n": 1.5, "ñ": "€"}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_read(name: str) -> None:
    assert Decoder().decode(ENCODINGS[name](DATA)) == DATA


@pytest.mark.parametrize("channel", SPEC_INNER)
@pytest.mark.parametrize("stored_as", ["text", "bytea"])
def test_the_spec_commands_are_read(channel: str, stored_as: str) -> None:
    payload = shell_wrapped(SPEC_INNER[channel])
    expected = json.loads(SPEC_INNER[channel].replace('\\"', '"'))
    assert Decoder().decode(payload if stored_as == "text" else payload.encode()) == expected


def test_the_spec_macro_event_is_read() -> None:
    assert Decoder().decode(SPEC_MACRO) == {"sp500_price": 4500.0, "vix_price": 22.0}


def test_a_pushed_event_with_compressed_bytes_is_read() -> None:
    compressed = zstandard.ZstdCompressor().compress(to_json(DATA))
    assert Decoder().decode({"data": compressed}) == DATA


def test_an_object_with_a_field_data_among_others_is_no_wrapper() -> None:
    data = {"data": "x", "tipo": "algo"}
    assert Decoder().decode(to_json(data)) == data


def test_numbers_that_json_should_not_have_are_kept_for_the_rules_to_see() -> None:
    decoded = Decoder().decode(b'{"vix_price": NaN, "a": Infinity, "b": ' + b"9" * 5000 + b"}")
    assert math.isnan(decoded["vix_price"])
    assert decoded["a"] == decoded["b"] == math.inf


ZSTD = zstandard.ZstdCompressor().compress(to_json(DATA))
UNSIZED = ENCODINGS["zstd without size"](DATA)
UNSIZED_BOMB = zstandard.ZstdCompressor(write_content_size=False).compress(b" " * 50_000_000)
REFUSED: dict[str, tuple[Any, str]] = {
    "empty": (b"", "JSON inválido"),
    "list": (b"[1, 2]", "una lista"),
    "number": (b"12", "un número"),
    "null": (b"null", "null"),
    "text": (b'"hola"', "JSON inválido"),
    "text in text in text": (json.dumps(json.dumps(json.dumps("hola"))), "envolturas"),
    "binary": (bytes(range(128, 256)), "ni zstd"),
    "truncated zstd": (ZSTD[:-3], "zstd"),
    "truncated zstd without size": (UNSIZED[:-3], "zstd truncado"),
    "truncated gzip": (gzip.compress(to_json(DATA))[:-9], "gzip"),
    "gzip with a broken body": (b"\x1f\x8b" + b"x" * 30, "gzip dañado"),
    "garbage after zstd": (ZSTD + b"basura", "zstd dañado"),
    "sized bomb": (zstandard.ZstdCompressor().compress(b" " * 50_000_000), "4096 bytes"),
    "unsized bomb": (UNSIZED_BOMB, "4096 bytes"),
    "gzip bomb": (gzip.compress(b" " * 5_000_000), "4096 bytes"),
    "zlib bomb": (zlib.compress(b" " * 5_000_000), "4096 bytes"),
    "too many frames": (zstandard.ZstdCompressor().compress(b" ") * 6, "más de 5 tramas"),
    "too many members": (gzip.compress(b" ") * 6, "más de 5 partes"),
    "too deep": (b'{"a":' * 20 + b"1" + b"}" * 20, "8 niveles"),
    "absurdly deep": (b'{"a":' * 600 + b"1" + b"}" * 600, "niveles"),
    "three wrappers": (json.dumps({"data": {"data": {"data": DATA}}}), "envolturas"),
    "not base64": (json.dumps({"data": "¿qué?"}), "base64"),
    "large text": ("{" + " " * 5000 + "}", "4096 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(name: str) -> None:
    payload, reason = REFUSED[name]
    with pytest.raises(DecodeError, match=reason):
        Decoder(SMALL).decode(payload)


def test_json_nested_deeper_than_the_parser_goes_is_refused_whatever_the_limit() -> None:
    deep = zstandard.ZstdCompressor().compress(b'{"a":' * 1500 + b"1" + b"}" * 1500)
    with pytest.raises(DecodeError, match="anidado"):
        Decoder(Limits(max_depth=2000)).decode(deep)


def test_a_decoder_works_on_after_a_refusal() -> None:
    decoder = Decoder(SMALL)
    for payload, _ in REFUSED.values():
        with pytest.raises(DecodeError):
            decoder.decode(payload)
    assert decoder.decode(ZSTD) == DATA


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300)
    | st.text(max_size=200)
    | st.binary(max_size=200).map(lambda b: b"\x28\xb5\x2f\xfd" + b)
    | st.binary(max_size=200).map(lambda b: b"\x1f\x8b\x08" + b)
    | st.binary(max_size=200).map(lambda b: zstandard.ZstdCompressor().compress(b))
)
def test_anything_is_an_object_or_a_refusal_and_quick(payload: bytes | str) -> None:
    started = time.process_time()
    reason = ""
    decoded: Any = None
    try:
        decoded = Decoder(SMALL).decode(payload)
    except DecodeError as error:
        reason = str(error)
    took = time.process_time() - started
    assert isinstance(decoded, dict) != bool(reason)
    assert took < 1.0 or took < slowness()


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), _JSON, min_size=2, max_size=6))
def test_what_was_written_is_what_is_read(data: dict[str, Any]) -> None:
    text = json.dumps(data).encode()
    assert Decoder().decode(zstandard.ZstdCompressor().compress(text)) == data
