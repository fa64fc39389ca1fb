"""Redis as a cache of recent alerts by fingerprint: it saves alert_db questions, no more.

Down, slow or flushed, it changes the speed and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from ..domain.errors import SourceUnavailableError
from ..domain.outcome import Candidate, Committed

log = logging.getLogger("corec.alert_manager.cache")

T = TypeVar("T")
_PREFIX = "alert_manager:dedupe:"
_FAILURES = (RedisError, OSError, TimeoutError)
_LONGEST = 86400  # seconds that an alert is remembered
_ANSWER = 3.0  # seconds that it has to say that it is there
_PROBE_INTERVAL = 1.0  # seconds between looks whether Redis is back
_AT_ONCE = 1000  # keys: what Redis does for us others wait for, a millisecond at the most
# A pipeline of single commands costs us ten times as much a key.
_SET_ALL = """
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[2 * i - 1], 'EX', ARGV[2 * i]) end
"""


class DedupeCache:
    """Looks alerts up by fingerprint and remembers new ones; a failure is an empty answer.

    After a failure nobody asks any more: a task of its own looks when Redis is back, so that a
    server that hangs makes one batch wait, once.
    """

    def __init__(self, redis: Any, timeout: float) -> None:
        self._redis = redis
        # There keys live in several places, and no command knows all of them.
        self._one_by_one = isinstance(redis, RedisCluster)
        self._timeout = timeout
        self._probing: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """False while Redis is missing or does not answer."""
        return self._redis is not None and self._probing is None

    async def ask(self) -> str:
        """Asks Redis for an answer; returns what there is to say of it.

        Raises:
            SourceUnavailableError: it does not answer.
        """
        if self._redis is None:
            return "CoreC no usa Redis: más lento, no se pierde nada"
        try:
            async with asyncio.timeout(_ANSWER):
                await self._redis.ping()
        except _FAILURES as error:
            name = type(error).__name__
            raise SourceUnavailableError(
                f"no responde ({name}): sin caché va más lento, y lo de sus streams espera"
            ) from error
        return "ok" if self.available else "responde despacio: se sigue sin caché"

    async def close(self) -> None:
        """Looks no more."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def look_up(self, candidates: Sequence[Candidate]) -> dict[bytes, tuple[int, float]]:
        """Returns (alert id, event time) of the fingerprints that the cache knows."""
        fingerprints = list(dict.fromkeys(c.fingerprint for c in candidates))
        keys = list(map(_key, fingerprints))
        if not keys:
            return {}

        answers = await self._try(lambda: self._get(keys))
        found = zip(fingerprints, answers or (), strict=False)
        return {f: alert for f, answer in found if (alert := _parse(answer)) is not None}

    async def remember(self, candidates: Sequence[Candidate], committed: Committed) -> None:
        """Stores new alerts after their commit, each for its window."""
        windows = {candidates[i].fingerprint: candidates[i].window for i in committed.alerts}
        entries = [
            (_key(fingerprint), _value(*committed.known[fingerprint]), int(min(window, _LONGEST)))
            for fingerprint, window in windows.items()
            if window >= 1
        ]
        if entries:
            await self._try(lambda: self._set(entries))

    async def _get(self, keys: Sequence[str]) -> list[Any]:
        if not self._one_by_one:
            try:
                return [v for page in _pages(keys) for v in await self._redis.mget(page)]
            except ResponseError as error:
                self._go_one_by_one("MGET", error)
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            return list(await pipe.execute())

    async def _set(self, entries: Sequence[tuple[str, str, int]]) -> None:
        """Stores values under keys for so many seconds."""
        if not self._one_by_one:
            try:
                for page in _pages(entries):
                    keys = [key for key, _, _ in page]
                    arguments = [word for _, value, seconds in page for word in (value, seconds)]
                    await self._redis.eval(_SET_ALL, len(keys), *keys, *arguments)
            except ResponseError as error:
                self._go_one_by_one("EVAL", error)
            else:
                return
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, value, seconds in entries:
                pipe.set(key, value, ex=seconds)
            await pipe.execute()

    def _go_one_by_one(self, command: str, error: ResponseError) -> None:
        """Names one key in a command: the account may do no other, or Redis is a cluster's."""
        name = type(error).__name__
        log.info("Redis no admite %s (%s): se le pregunta clave a clave", command, name)
        self._one_by_one = True

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T | None:
        if not self.available:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except _FAILURES as error:
            if self._probing is None:  # another batch may have failed at the same time
                log.warning("Redis no responde (%s); se sigue sin caché", type(error).__name__)
                self._probing = asyncio.create_task(self._wait_for_redis(), name="redis-probe")
            return None

    async def _wait_for_redis(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_INTERVAL)
            try:
                async with asyncio.timeout(self._timeout):
                    await self._redis.ping()
            except _FAILURES:
                continue
            log.info("Redis responde de nuevo")
            self._probing = None
            return


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]


def _key(fingerprint: bytes) -> str:
    return _PREFIX + fingerprint.hex()


def _value(alert_id: int, timestamp: float) -> str:
    return f"{alert_id}:{timestamp!r}"


def _parse(answer: Any) -> tuple[int, float] | None:
    if isinstance(answer, bytes):
        answer = answer.decode("ascii", "replace")
    if not isinstance(answer, str):
        return None
    alert_id, _, timestamp = answer.partition(":")
    try:
        return int(alert_id), float(timestamp)
    except ValueError:
        return None
