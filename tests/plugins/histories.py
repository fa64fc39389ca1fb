"""Events as CoreC's plugins write them, made up: calm days with a bad hour now and then."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import zstandard

from tests.plugins.payloads import to_json

Written = tuple[str, bytes, float]
"""Channel, payload and time (epoch seconds)."""

SYMBOLS = [f"{coin}/USDT" for coin in ("BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC", "BNB")]
_USERS = ("ana", "beto", "carla", "dario")
EXCHANGES = ("binance", "kraken", "okx")


class _Market:
    """What moves on from event to event."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # the same history for the same seed
        self.prices = {symbol: 10.0 ** (1 + n % 4) for n, symbol in enumerate(SYMBOLS)}
        self.vix = 16.0
        self.number = 0

    def price(self) -> dict[str, Any]:
        symbol = self.random.choice(SYMBOLS)
        fall = -0.05 if self.random.random() < 0.0005 else 0.0
        self.prices[symbol] *= 1 + self.random.gauss(0, 0.0008) + fall
        price = round(self.prices[symbol], 6)
        return {
            "plugin": "market_monitor",
            "symbol": symbol,
            "exchange": self.random.choice(EXCHANGES),
            "price": price,
            "bid": price * 0.9995,
            "ask": price * 1.0005,
            "volume": round(self.random.expovariate(0.01), 3),
        }

    def prediction(self) -> dict[str, Any]:
        symbol = self.random.choice(SYMBOLS)
        return {
            "plugin": "predictor_temporal",
            "symbol": symbol,
            "prediction": [round(self.random.gauss(1, 0.01), 6) for _ in range(6)],
            "mse": round(self.random.expovariate(80), 6),
            "confidence": round(self.random.random(), 4),
        }

    def trade(self) -> dict[str, Any]:
        self.number += 1
        return {
            "plugin": "trading_execution",
            "order_id": self.number,
            "user_id": self.random.choice(_USERS),
            "symbol": self.random.choice(SYMBOLS),
            "exchange": self.random.choice(EXCHANGES),
            "side": self.random.choice(("buy", "sell")),
            "quantity": round(self.random.random(), 6),
            "profit": round(self.random.gauss(8, 55), 2),
        }

    def macro(self) -> dict[str, Any]:
        self.vix += 0.02 * (16 - self.vix) + self.random.gauss(0, 0.45)
        return {
            "plugin": "macro_sync",
            "vix_price": round(self.vix, 2),
            "sp500_price": 6000 + self.random.gauss(0, 20),
            "dxy_price": 104.0,
            "dxy_change_percent": round(self.random.gauss(0, 0.3), 3),
        }

    def order(self) -> dict[str, Any]:
        self.number += 1
        status = self.random.choices(("filled", "open", "rejected"), (80, 19, 1))[0]
        return {
            "plugin": "exchange_sync",
            "exchange": self.random.choice(EXCHANGES),
            "symbol": self.random.choice(SYMBOLS),
            "order_id": f"o{self.number}",
            "status": status,
        }

    def warning(self) -> dict[str, Any]:
        kinds = ("api_error", "circuit_breaker_tripped", "event_error", "tipo_nuevo")
        return {
            "plugin": "exchange_sync",
            "tipo": self.random.choices(kinds, (80, 2, 10, 8))[0],
            "exchange": self.random.choice(EXCHANGES),
            "message": f"Error {self.random.choice((500, 502, 503))}",
        }

    def capital(self) -> dict[str, Any]:
        action = self.random.choice(("withdraw", "contribute"))
        amount = round(self.random.expovariate(1 / 400), 2)
        return {"action": action, "user_id": self.random.choice(_USERS), "amount": amount}

    def settlement(self) -> dict[str, Any]:
        roi = round(self.random.gauss(0.5, 3.5), 2)
        return {"roi_percent": roi, "pool_total": 50_000.0, "total_profit": roi * 500}

    def order_to_us(self) -> dict[str, Any]:
        loss = self.random.choice((80, 100, 120, 5000, "mucho"))
        return {"action": "update_threshold", "loss_threshold": loss, "plugin": "cli_manager"}


def history(count: int, begin: float, end: float, seed: int = 1) -> Iterator[Written]:
    """Yields so many events between two times (epoch seconds), zstd of about 200 bytes."""
    market = _Market(seed)
    kinds = (
        (550, "market_data", market.price),
        (250, "corec_stream_corec1", market.prediction),
        (120, "trading_results", market.trade),
        (40, "macro_data", market.macro),
        (30, "exchange_data", market.order),
        (7, "alertas", market.warning),
        (2, "capital_data", market.capital),
        (1, "settlement_data", market.settlement),
        (0.3, "alert_data", market.order_to_us),
    )
    weights = [weight for weight, _, _ in kinds]
    compress = zstandard.ZstdCompressor().compress
    step = (end - begin) / count
    for number in range(count):
        _, channel, make = market.random.choices(kinds, weights)[0]
        moment = begin + number * step
        payload = to_json({**make(), "timestamp": round(moment, 3)})
        damaged = market.random.random() < 0.0002
        yield channel, payload[:-5] if damaged else compress(payload), moment


def insert(dsn: str, events: Iterator[Written]) -> None:
    """Writes events to `eventos`, as fast as it goes, in their order."""
    with inserting(dsn, events):
        pass


@contextmanager
def inserting(dsn: str, events: Iterator[Written]) -> Iterator[None]:
    """Writes events to `eventos`, and commits them at the end of the block."""
    rows = io.StringIO()
    for channel, payload, moment in events:
        rows.write(f"{channel}\t\\\\x{payload.hex()}\t{moment!r}\tcorec1\n")
    rows.seek(0)
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(
                "COPY eventos (canal, datos, timestamp, instance_id) FROM STDIN", rows
            )
            yield
    finally:
        connection.close()
