"""Reads Redis streams by consumer group: acknowledged after the commit, never before.

alert_db knows how far each stream is judged. Every read sets the group to that place first, in the
same transaction, so that it hands out what comes next whatever became of earlier answers: a reader
that was killed, one that lost its lead without noticing, an answer that never arrived.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from ..domain.errors import SourceUnavailableError
from ..domain.model import Fetched, RawEvent
from ..domain.stream_position import EntryId, StreamPosition
from ..ports import StoredPosition
from ..start_from import StartFrom

log = logging.getLogger("corec.alert_manager.streams")

GROUP = "alert_manager"
FIELD = b"data"
STREAM = "stream:"  # and its name: the source of its entries
_BLOCK = 1.0  # seconds; the longest wait of one blocking call, and so of `wake`
_POLL = 0.25  # seconds between looks in a cluster, where no call can wait for several streams
_AT_ONCE = 1000  # entries acknowledged in one command
_MARGIN = 3_600_000  # milliseconds of a stream that began anew that are read again
_FAILOVER_MARGIN = 60_000  # milliseconds by which a server that takes over may be behind
_JOIN_INTERVAL = 5.0  # seconds between looks whether the streams are still what they were
_LARGE = 8 << 20  # bytes in one answer; Redis bounds it by entries alone


class StreamsReader:
    """Reads several streams as one source.

    Args:
        redis: a `redis.asyncio` client (or cluster client), or None.
        streams: their names; each is the channel of its events.
        consumer: our name in the group.
        batch_size: entries of one stream that are read at once, at the most.
        max_bytes: larger payloads are not kept, and become dead letters.
        start: where a first start begins.
    """

    source = "streams"
    reads_ahead = False  # what was handed to us last is what we acknowledge

    def __init__(
        self,
        redis: Any,
        streams: Sequence[str],
        consumer: str,
        batch_size: int,
        max_bytes: int,
        start: StartFrom,
    ) -> None:
        self._redis = redis
        self._streams = tuple(streams)
        self._readable: list[str] = []
        self._consumer = consumer
        self._batch_size = batch_size
        self._start = start
        self._max_bytes = max_bytes
        self._joined_at = float("-inf")
        self._count = batch_size
        self._in_hand: list[tuple[str, EntryId]] = []
        self._woken = False

    def decode(self, stored: StoredPosition) -> StreamPosition:
        """Returns the position that was stored as this JSON."""
        return StreamPosition.from_json(stored)

    async def check(self) -> None:
        """Asks whether Redis answers.

        Raises:
            SourceUnavailableError: it does not.
        """
        async with self._redis_faults():
            await self._redis.ping()
        self._joined_at = float("-inf")

    async def first_position(self) -> StreamPosition:
        """Returns where a first start begins.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        async with self._redis_faults():
            newest = {name: await self._newest(name) for name in self._streams}
        return StreamPosition({name: self._first(entry_id) for name, entry_id in newest.items()})

    async def fetch(self, position: StreamPosition) -> Fetched[StreamPosition]:
        """Reads what comes after a position.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        async with self._redis_faults():
            try:
                return await self._fetch(position)
            except ResponseError:
                self._joined_at = float("-inf")  # flushed, or a stream was deleted
                return await self._fetch(position)

    def part(
        self, before: StreamPosition, fetched: Fetched[StreamPosition], count: int
    ) -> StreamPosition:
        """Returns the position after the first `count` entries of the newest fetch."""
        return before.after(self._in_hand[:count])

    async def committed(self, position: StreamPosition) -> None:
        """Acknowledges what alert_db has; where that fails, joining makes up for it."""
        done: dict[str, list[str]] = {}
        for name, entry_id in self._in_hand:
            if entry_id <= position.last[name]:
                done.setdefault(name, []).append(str(entry_id))
        try:
            async with self._redis_faults():
                for name, ids in done.items():
                    await self._redis.xack(name, GROUP, *ids)
        except SourceUnavailableError as error:
            log.warning("%s: lo que ya está guardado se confirma más tarde", error)

    async def sleep(self, position: StreamPosition, seconds: float) -> None:
        """Sleeps until there is something new, `wake` is called, or for `seconds`.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        self._woken = False
        until = time.monotonic() + seconds
        async with self._redis_faults():
            while not self._woken and (left := until - time.monotonic()) > 0:
                if await self._wait(position, left):
                    return

    def wake(self) -> None:
        """Ends a sleep within 1 s."""
        self._woken = True

    @asynccontextmanager
    async def _redis_faults(self) -> AsyncIterator[None]:
        if self._redis is None:
            raise SourceUnavailableError("no hay conexión con Redis")
        try:
            yield
        except ResponseError as error:
            # A command that is refused, to our account for instance, says why.
            raise SourceUnavailableError(f"Redis rechazó la orden: {str(error)[:200]}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise SourceUnavailableError(f"Redis no responde: {type(error).__name__}") from error

    async def _fetch(self, position: StreamPosition) -> Fetched[StreamPosition]:
        if time.monotonic() - self._joined_at >= _JOIN_INTERVAL:
            position, anew = await self._join(position)
            if anew:
                return Fetched((), position, more=True, anew=anew)
        found = [
            (name, EntryId.parse(raw_id), fields)
            for name, entries in (await self._read_after(position)).items()
            for raw_id, fields in entries
        ]
        # By their time: what one stream says goes before what another says later.
        found.sort(key=lambda entry: entry[1])
        self._in_hand = [(name, entry_id) for name, entry_id, _ in found]
        events = tuple(stream_event(*entry, self._max_bytes) for entry in found)
        if sum(event.size for event in events) > _LARGE:
            self._count = max(1, self._count // 8)
        else:
            self._count = min(self._batch_size, self._count * 2)
        return Fetched(events, position.after(self._in_hand), more=bool(events))

    async def _read_after(self, position: StreamPosition) -> dict[str, list[tuple[Any, Any]]]:
        """Returns entries by stream."""
        # The streams of a cluster live in several places: no command reads from two of them.
        one_by_one = isinstance(self._redis, RedisCluster)
        groups = [[name] for name in self._readable] if one_by_one else [self._readable]
        found: dict[str, list[tuple[Any, Any]]] = {}
        for names in filter(None, groups):
            async with self._redis.pipeline(transaction=True) as pipe:
                for name in names:
                    pipe.xgroup_setid(name, GROUP, str(position.last[name]))
                pipe.xreadgroup(GROUP, self._consumer, dict.fromkeys(names, ">"), count=self._count)
                found |= _by_stream((await pipe.execute())[-1])
        return found

    async def _join(self, position: StreamPosition) -> tuple[StreamPosition, str]:
        """Makes groups where they are missing, and acknowledges what alert_db has.

        Returns:
            The position; and which streams began anew, in words.
        """
        last = dict(position.last)
        anew: list[str] = []
        history = await self._history()
        other = None not in (history, position.history) and history != position.history
        self._readable = []
        for name in self._streams:
            if _text(await self._redis.type(name)) not in ("stream", "none"):
                log.warning("la clave %s de Redis no es un stream: no se lee", name)
                continue
            self._readable.append(name)
            newest = await self._newest(name)
            known = position.last.get(name, self._first(newest))
            if newest is not None and newest < known:
                # Its ids go on below the old ones: what was judged is there again, or it is not.
                anew.append(f"el stream {name}: se había leído hasta {known}")
                known = EntryId(max(0, newest.ms - _MARGIN))
            elif other and not await self._redis.xrange(name, str(known), str(known)):
                # Another server took over, which never saw it, and may have given ids below it.
                log.warning(
                    "otro servidor de Redis: %s se lee de nuevo, desde un minuto antes", name
                )
                known = EntryId(max(0, known.ms - _FAILOVER_MARGIN))
            # To make it where it is fails, every 5 s, and each error is garbage in a cycle.
            if newest is None or not await self._has_group(name):
                await self._make_group(name, known)
            await self._acknowledge_known(name, known)
            last[name] = known
        self._joined_at = time.monotonic()
        return StreamPosition(last, history), "; ".join(anew)

    async def _history(self) -> str | None:
        """Returns the name of the server's history; None where it does not say."""
        if isinstance(self._redis, RedisCluster):
            return None
        try:
            information = await self._redis.info("replication")
        except ResponseError:  # not allowed to us
            return None
        return str(information["master_replid"])

    async def _has_group(self, name: str) -> bool:
        groups = await self._redis.xinfo_groups(name)
        return any(_text(group["name"]) == GROUP for group in groups)

    async def _make_group(self, name: str, known: EntryId) -> None:
        try:
            await self._redis.xgroup_create(name, GROUP, id=str(known), mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _acknowledge_known(self, name: str, known: EntryId) -> None:
        """Acknowledges what alert_db has, and a dead reader did not come to acknowledge."""
        while entries := await self._redis.xpending_range(
            name, GROUP, min="-", max=str(known), count=_AT_ONCE
        ):
            await self._redis.xack(name, GROUP, *(entry["message_id"] for entry in entries))

    def _first(self, newest: EntryId | None) -> EntryId:
        """Returns where a stream that was never read begins; not behind its end."""
        since = self._start.threshold(time.time())
        if since is None or newest is None:
            return EntryId()
        return min(newest, EntryId(max(0, int(since * 1000))))

    async def _newest(self, name: str) -> EntryId | None:
        """Returns the newest id that a stream ever had; None where there is no such stream."""
        try:
            information = await self._redis.xinfo_stream(name)
        except ResponseError:
            return None
        return EntryId.parse(information["last-generated-id"])

    async def _wait(self, position: StreamPosition, seconds: float) -> bool:
        """Waits a while; True when there may be something new."""
        if isinstance(self._redis, RedisCluster) or not self._readable:
            await asyncio.sleep(min(seconds, _POLL if self._readable else _BLOCK))
            return True
        last = {name: str(position.last.get(name, EntryId())) for name in self._readable}
        block = max(1, int(min(seconds, _BLOCK) * 1000))
        return bool(await self._redis.xread(last, count=1, block=block))


def stream_event(
    name: str, entry_id: EntryId, fields: Mapping[bytes, bytes], max_bytes: int
) -> RawEvent:
    """Returns an entry as an event; of one larger than `max_bytes` the payload is left out."""
    data = fields.get(FIELD)
    size = len(data or b"")
    return RawEvent(
        source=f"{STREAM}{name}",
        event_id=entry_id.pack(),
        channel=name,
        payload=data if size <= max_bytes else None,
        timestamp=entry_id.ms / 1000,
        instance_id=None,
        size=size,
    )


def _by_stream(reply: Any) -> dict[str, list[tuple[Any, Any]]]:
    """Returns a reply's entries by stream: RESP2 has pairs, RESP3 a mapping to a list of lists."""
    if isinstance(reply, Mapping):
        return {_text(name): [e for part in parts for e in part] for name, parts in reply.items()}
    return {_text(name): list(entries) for name, entries in reply or ()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
