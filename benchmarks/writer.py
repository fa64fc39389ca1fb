"""A program that writes events one by one, each in its own transaction, as CoreC's plugins do.

`python -m benchmarks.writer DSN SECONDS [RATE [EVERY]]`: at RATE a second, or as fast as it goes;
each EVERYth is a loss that becomes an alert. Prints how many it wrote in a second.
"""

from __future__ import annotations

import json
import sys
import time
import uuid

import psycopg2
import zstandard

_INSERT = (
    "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
    " VALUES ('trading_results', %s, %s, 'corec1')"
)


def main(dsn: str, seconds: float, rate: float = 0.0, every: float = 100) -> float:
    """Writes; returns rows a second."""
    compressor = zstandard.ZstdCompressor()
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    began, written = time.perf_counter(), 0
    with connection.cursor() as cursor:
        while (now := time.perf_counter()) - began < seconds:
            if rate and (early := began + written / rate - now) > 0:
                time.sleep(early)
            event = {
                "plugin": "trading_execution",
                "order_id": uuid.uuid4().hex,
                "user_id": "ana",
                "symbol": f"S{written}/USDT",
                "exchange": "binance",
                "profit": -150.0 if written % every == 0 else 10.0,
            }
            payload = compressor.compress(json.dumps(event).encode())
            cursor.execute(_INSERT, (psycopg2.Binary(payload), time.time()))
            written += 1
    connection.close()
    return written / (time.perf_counter() - began)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[2:]]
    print(main(sys.argv[1], *numbers))
