"""Every form that writers give a payload, made the way they make it."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import zstandard

SPEC_INNER = {
    "alertas": r"{\"tipo\": \"circuit_breaker_tripped\", \"plugin\": \"trading_execution\"}",
    "trading_results": r"{\"profit\": -150.0, \"symbol\": \"BTC/USDT\", \"exchange\": "
    r"\"binance\", \"user_id\": \"user1\"}",
    "capital_data": r"{\"user_id\": \"user1\", \"action\": \"withdraw\", \"amount\": 600.0}",
    "settlement_data": r"{\"roi_percent\": -6.0}",
}
"""What the spec's commands compress: single quotes inside `$( … )` keep the backslashes."""

SPEC_MACRO = '{"sp500_price": 4500.0, "vix_price": 22.0}'


def to_json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode()


def event(name: str, **more: object) -> bytes:
    """An event that becomes an alert of its own."""
    return to_json({"tipo": "t", "plugin": name, **more})


def _unsized_frame(data: Any) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(to_json(data)) + compressor.flush()


def _many_frames(data: Any) -> bytes:
    text = to_json(data)
    half = len(text) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(text[:half]) + compress(text[half:])


def wrapped(inner: bytes, newline_every: int = 76) -> str:
    """`{"data": "<base64>"}` as a shell makes it: with raw line breaks inside the string."""
    text = base64.b64encode(inner).decode()
    lines = [text[i : i + newline_every] for i in range(0, len(text), newline_every)]
    return '{"data": "' + "\n".join(lines) + '"}'


def shell_wrapped(inner: str) -> str:
    """What the spec's command sends, made by the real `gzip` and `base64`."""
    script = f"echo '{inner}' | gzip | base64"
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    return '{"data": "' + done.stdout.rstrip("\n") + '"}'


ENCODINGS: Mapping[str, Callable[[Any], bytes | str]] = {
    "zstd": lambda data: zstandard.ZstdCompressor().compress(to_json(data)),
    "zstd without size": _unsized_frame,
    "zstd in two frames": _many_frames,
    "gzip": lambda data: gzip.compress(to_json(data)),
    "gzip in two members": lambda data: (
        gzip.compress(to_json(data)[:5]) + gzip.compress(to_json(data)[5:])
    ),
    "zlib": lambda data: zlib.compress(to_json(data)),
    "json bytes": to_json,
    "json text": lambda data: to_json(data).decode(),
    "json with BOM": lambda data: b"\xef\xbb\xbf" + to_json(data),
    "wrapped gzip": lambda data: wrapped(gzip.compress(to_json(data))),
    "wrapped zstd": lambda data: wrapped(zstandard.ZstdCompressor().compress(to_json(data))),
    "wrapped gzip as bytes": lambda data: wrapped(gzip.compress(to_json(data))).encode(),
    "wrapped url-safe": lambda data: json.dumps(
        {"data": base64.urlsafe_b64encode(gzip.compress(to_json(data))).decode().rstrip("=")}
    ),
    "wrapped json text": lambda data: json.dumps({"data": to_json(data).decode()}),
    "wrapped object": lambda data: json.dumps({"data": data}),
    "wrapped twice": lambda data: json.dumps({"data": {"data": data}}),
    "json in a json string": lambda data: json.dumps(json.dumps(data)),
    "escaped once too often": lambda data: to_json(data).decode().replace('"', '\\"'),
    "the spec's shell": lambda data: shell_wrapped(to_json(data).decode().replace('"', '\\"')),
}
