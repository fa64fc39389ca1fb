"""Made-up events of about 200 bytes: how many of them are alerts, and how they are encoded."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import zstandard

from tests.plugins.histories import EXCHANGES, SYMBOLS, Written
from tests.plugins.payloads import wrapped

_SPAN = 600.0  # seconds in which the events happened
_USERS = 2000
_ZSTD = zstandard.ZstdCompressor(level=3)
_ENCODINGS: tuple[Callable[[bytes], bytes], ...] = (
    _ZSTD.compress,
    gzip.compress,
    zlib.compress,
    lambda text: wrapped(gzip.compress(text)).encode(),
    bytes,
)


@dataclass(frozen=True, slots=True)
class Load:
    """What the events of one measurement are.

    Attributes:
        alerts: the share of events that are alerts.
        repeats: the share of those that repeat another one.
        mixed: True where they come in all encodings, and not in zstd alone.
    """

    alerts: float
    repeats: float = 0.0
    mixed: bool = False


LOADS = {
    "1 %": Load(0.01),
    "10 %": Load(0.1),
    "100 %": Load(1.0),
    "encodings": Load(0.1, mixed=True),
    "duplicates": Load(1.0, repeats=0.9),
}


def events(load: Load, count: int, until: float) -> Iterator[Written]:
    """Makes `count` events of a load, that happened in the ten minutes until a moment (epoch s)."""
    encodings = _ENCODINGS if load.mixed else _ENCODINGS[:1]
    for number, trade in enumerate(trades(load, count)):
        payload = json.dumps(trade).encode()
        timestamp = until - _SPAN * (1 - number / count)
        yield "trading_results", encodings[number % len(encodings)](payload), timestamp


def trades(load: Load, count: int) -> Iterator[dict[str, Any]]:
    """Makes what `count` events of a load say."""
    chance = random.Random(1)  # the same events in each round
    for number in range(count):
        is_alert = chance.random() < load.alerts
        is_repeat = is_alert and chance.random() < load.repeats
        if is_repeat:  # of one of a hundred
            yield _trade(random.Random(number % 100), number % 100, is_alert)
        else:
            yield _trade(chance, number, is_alert)


def _trade(chance: random.Random, number: int, is_alert: bool) -> dict[str, Any]:
    return {
        "plugin": "trading_execution",
        "order_id": f"{chance.getrandbits(128):032x}",
        "client_order_id": f"{chance.getrandbits(128):032x}",
        "user_id": f"user{chance.randrange(_USERS)}",
        "symbol": chance.choice(SYMBOLS),
        "exchange": chance.choice(EXCHANGES),
        "side": chance.choice(("buy", "sell")),
        "quantity": round(chance.random(), 6),
        "price": round(chance.uniform(10, 70_000), 2),
        "fee": round(chance.random(), 6),
        "profit": _profit(chance, is_alert),
        "strategy": f"s{chance.randrange(40)}",
        "status": "closed",
    }


def _profit(chance: random.Random, is_alert: bool) -> float:
    """Draws a result; one in twenty is a loss, which the rule for losses in a row remembers."""
    size = chance.uniform(5100, 9000) if is_alert else chance.uniform(0.5, 50)
    return round(-size if chance.random() < 0.05 else size, 2)
