"""Hostile payloads: what a broken or malicious writer may put into `datos`. Named, then mutated."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

MIB = 1 << 20


def zstd(raw: bytes, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(raw)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _filled(unit: bytes, room: int = MIB - 100) -> bytes:
    """An object just under 1 MiB whose list repeats a unit."""
    return b'{"tipo":"t","l":[' + b",".join([unit] * (room // (len(unit) + 1))) + b"]}"


def _texts(unit: str) -> bytes:
    return _json({"tipo": "t", "plugin": "p", "x": unit * ((MIB - 200) // len(_json(unit)))})


VALUES = {
    "nan": "NaN",
    "infinity": "-Infinity",
    "huge exponent": "1e999",
    "5,000 digits": "9" * 5000,
    "minus 5,000 digits": "-" + "9" * 5000,
    "true": "true",
    "null": "null",
    "text": '"mil"',
    "empty text": '""',
    "list": "[1]",
    "object": '{"a": 1}',
    "nul": r'"a\u0000b"',
    "lone surrogate": r'"\ud800"',
    "right to left": '"\u202e\u2066x"',
    "mention": '"@everyone <@1> https://x.mx"',
    "ansi": r'"\u001b[31mroto\u001b[0m\r\nAsunto: otro"',
    "template": '"{{ 7*7 }} {% for i in range(9) %}x{% endfor %}"',
    "sql": '"\'; DROP TABLE alerts; --"',
}
FIELDS = ("profit", "amount", "vix_price", "tipo", "plugin", "roi_percent", "valor", "timestamp")

CORPUS: dict[str, bytes] = {
    "nothing": b"",
    "nul bytes": b"\x00" * 1000,
    "all bytes": bytes(range(256)),
    "utf-16": '{"tipo": "t"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + _json({"tipo": "t"}),
    "duplicate keys": b'{"tipo": "a", "tipo": "b", "profit": -1, "profit": -5000}',
    "list": b"[]",
    "string": b'"x"',
    "half an object": b'{"tipo": "t"',
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep list": b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
    "wrapped four times": _json({"data": {"data": {"data": {"data": {"tipo": "t"}}}}}),
    "text in text": _json(_json(_json({"tipo": "t"}).decode()).decode()),
    "base64 of nothing": _json({"data": ""}),
    "base64 of rubbish": _json({"data": "@@@@"}),
    "base64 of zstd": _json({"data": base64.b64encode(zstd(_json({"tipo": "t"}))).decode()}),
    "zstd of zstd": zstd(zstd(_json({"tipo": "t"}))),
    "zstd magic alone": b"\x28\xb5\x2f\xfd",
    "gzip magic alone": b"\x1f\x8b",
    "zlib magic alone": b"\x78\x9c",
    "skippable frame": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    "truncated frame": zstd(_json({"tipo": "t" * 500}))[:-5],
    "truncated unsized frame": zstd(_json({"tipo": "t" * 500}), sized=False)[:-5],
    "frame that lies about its size": b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + b"\x00" * 20,
    "bomb": zstd(b" " * (64 * MIB)),
    "unsized bomb": zstd(b" " * (64 * MIB), sized=False),
    "gzip bomb": gzip.compress(b" " * (64 * MIB)),
    "zlib bomb": zlib.compress(b" " * (64 * MIB)),
    "bomb in frames": zstd(b" " * MIB) * 90,
    "many frames": zstd(b" ") * 5000,
    "many members": gzip.compress(b"") * 5000,
    "empty objects": _filled(b"{}"),
    "empty lists": _filled(b"[]"),
    "nested lists": _filled(b"[[[[]]]]"),
    "small objects": _filled(b'{"a":1}'),
    "numbers": _filled(b"0"),
    "floats": _filled(b"0.1"),
    "long numbers": _filled(b"9" * 299),
    "very long numbers": _filled(b"9" * 4000),
    "one endless number": b'{"profit":' + b"9" * (MIB - 100) + b"}",
    "many texts": _filled(b'"x"'),
    "many secrets": _filled(b'"password=x"'),
    "many keys": _json({f"k{i}": 1 for i in range(60_000)}),
    "many secret keys": _json({f"token{i}": "x" for i in range(45_000)}),
    "one long text": _texts("x"),
    "escapes": _texts("\\"),
    "quotes": _texts('"'),
    "line breaks": _texts("\n"),
    "tokens": _texts("eyJaaaaaaaaaa."),
    "urls": _texts("://a:b"),
    "passwords": _texts("password="),
    "bearers": _texts("bearer "),
    "keys in text": _texts("sk_live_"),
    "emoji": _texts("\U0001f600"),
    "escaped once too often": b'{\\"tipo\\": \\"t\\"}' * 1000,
    "backslashes": b'{\\"' + b"\\" * 500_000,
}
CORPUS |= {
    f"{field} is {name}": f'{{"tipo": "t", "plugin": "p", "{field}": {value}}}'.encode()
    for field in FIELDS
    for name, value in VALUES.items()
}


def payloads(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The corpus, then mutations of it, always the same for a seed; (name, payload)."""
    yield from CORPUS.items()
    choose = random.Random(seed)
    small = [(name, payload) for name, payload in CORPUS.items() if len(payload) < 5000]
    for i in range(count - len(CORPUS)):
        name, payload = choose.choice(small)
        yield f"{name}, mutation {i}", _mutated(choose, payload)


def _mutated(choose: random.Random, payload: bytes) -> bytes:
    mutant = bytearray(payload)
    for _ in range(choose.randrange(4)):
        at = choose.randrange(len(mutant) + 1)
        kind = choose.randrange(3)
        if kind == 0:
            mutant[at:at] = choose.randbytes(choose.randrange(1, 5))
        elif kind == 1:
            del mutant[at : at + choose.randrange(1, 20)]
        else:
            mutant[at:at] = payload[: choose.randrange(len(payload) + 1)]
    wrap = choose.randrange(6)
    if wrap == 0:
        return zstd(bytes(mutant))
    if wrap == 1:
        return gzip.compress(bytes(mutant))
    if wrap == 2:
        return _json({"data": base64.b64encode(bytes(mutant)).decode()})
    return bytes(mutant)
