"""What the cache of recent alerts stores in Redis, and finds again."""

from __future__ import annotations

import pytest
import redis.asyncio as redis

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Candidate, Committed, Said
from src.plugins.alert_manager.utils.dedupe import DedupeCache

COUNT = 2500  # more than go in one command


def candidate(number: int, window: float = 3600.0) -> Candidate:
    return Candidate(
        source="eventos",
        event_id=number,
        channel="trading_results",
        rule="perdida",
        severity=Severity.ALTA,
        words=Said("t", "m"),
        event_data={},
        timestamp=1_750_000_000.25 + number,
        instance_id="corec1",
        fingerprint=number.to_bytes(16, "big"),
        window=window,
        targets=("log",),
    )


def committed(candidates: list[Candidate]) -> Committed:
    return Committed(
        alerts={index: 7 + index for index in range(len(candidates))},
        known={c.fingerprint: (7 + i, c.timestamp) for i, c in enumerate(candidates)},
    )


@pytest.mark.parametrize("decode_responses", [False, True])
async def test_all_of_a_large_batch_are_found_again_and_forgotten_in_time(
    redis_url: str, decode_responses: bool
) -> None:
    candidates = [candidate(number) for number in range(COUNT)]
    stored = committed(candidates)
    async with redis.from_url(redis_url, decode_responses=decode_responses) as client:
        cache = DedupeCache(client, 5.0)
        assert await cache.look_up(candidates) == {}
        await cache.remember(candidates, stored)
        assert await cache.look_up([*candidates, candidate(COUNT)]) == stored.known
        ttls = {await client.ttl(key) async for key in client.scan_iter(count=1000)}
        assert all(3540 <= ttl <= 3600 for ttl in ttls)
        assert cache.available
        await cache.close()


async def test_a_window_of_less_than_a_second_or_more_than_a_day(redis_url: str) -> None:
    candidates = [candidate(1, 0.5), candidate(2, 10 * 86400.0)]
    async with redis.from_url(redis_url) as client:
        cache = DedupeCache(client, 5.0)
        await cache.remember(candidates, committed(candidates))
        [key] = [key async for key in client.scan_iter()]
        assert await client.ttl(key) in (86399, 86400)
        assert set(await cache.look_up(candidates)) == {candidates[1].fingerprint}
        await cache.close()


async def test_an_account_without_scripts_has_the_cache_all_the_same(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corec.alert_manager.cache")
    candidates = [candidate(number) for number in range(3)]
    stored = committed(candidates)
    async with redis.from_url(redis_url) as admin:
        await admin.acl_setuser(
            "am", enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all", "-@scripting"]
        )
        try:
            async with redis.from_url(redis_url, username="am", password="pw") as client:
                cache = DedupeCache(client, 5.0)
                for _ in range(2):
                    await cache.remember(candidates, stored)
                    assert await cache.look_up(candidates) == stored.known
                assert cache.available
                await cache.close()
        finally:
            await admin.acl_deluser("am")
    assert [r.message for r in caplog.records] == [
        "Redis no admite EVAL (NoPermissionError): se le pregunta clave a clave"
    ]
