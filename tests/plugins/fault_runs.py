"""Runs of one fault each, with a size: short in the tests, long in benchmarks/faults.py.

Each run returns an `Outcome` and judges nothing: tests and the long form share one truth.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import redis as sync_redis
import yaml
import zstandard
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.holes import Hole, Position
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import ReaderSettings
from src.plugins.alert_manager.utils.eventos import EventosReader
from src.plugins.alert_manager.utils.pg import PgSession
from tests.plugins.conftest import World, eventually
from tests.plugins.hosts import host
from tests.plugins.payloads import event
from tests.support.discord import DiscordServer

_INSERT = (
    "INSERT INTO eventos (id, canal, datos, timestamp, instance_id)"
    " VALUES (%s, 'alertas', %s, extract(epoch FROM clock_timestamp()), 'w')"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        done: how often the fault was there, or for how long, in words.
        events: what was committed by writers.
        lost: events without their alert.
        doubled: alerts and counted repeats that no event stands for.
        figures: what was measured, by name.
    """

    done: str
    events: int
    lost: int
    doubled: int
    figures: dict[str, float] = field(default_factory=dict)


class Committed:
    """What writers committed, kept by many threads: names of events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.names: list[str] = []

    def add(self, names: Sequence[str]) -> None:
        with self._lock:
            self.names.extend(names)


async def compare(world: World, names: Sequence[str], seconds: float) -> tuple[int, int]:
    """Waits until every event has its alert, or time is over; returns (lost, doubled)."""
    wanted = Counter(names)
    count = "SELECT coalesce(sum(occurrences), 0) FROM alerts WHERE source <> 'alert_manager'"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (await asyncio.to_thread(world.alert, count))[0][0] >= len(names):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # what is doubled may still come
    sql = (
        "SELECT event_data ->> 'plugin', sum(occurrences) FROM alerts"
        " WHERE source <> 'alert_manager' GROUP BY 1"
    )
    found = Counter({name: int(n) for name, n in await asyncio.to_thread(world.alert, sql)})
    return sum((wanted - found).values()), sum((found - wanted).values())


class _Writer(threading.Thread):
    """Commits, rolls back, nests, prepares and draws ids early, at random."""

    def __init__(self, dsn: str, seed: int, stop: threading.Event, committed: Committed) -> None:
        super().__init__(name=f"writer-{seed}")
        self._dsn, self._seed, self._stopping, self._committed = dsn, seed, stop, committed
        self._choose = random.Random(seed)
        self._number = 0
        self._early: list[int] = []

    def run(self) -> None:
        with closing(psycopg2.connect(self._dsn)) as connection:
            while not self._stopping.is_set():
                self._transaction(connection)

    def _transaction(self, connection: Connection) -> None:
        names = [self._insert(connection) for _ in range(self._choose.randrange(1, 4))]
        if self._choose.random() < 0.2:
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT s")
                self._insert(connection)
                cursor.execute("ROLLBACK TO SAVEPOINT s")
        time.sleep(self._choose.random() ** 4 * 0.3)  # most are short, some stay open
        kind = self._choose.random()
        if kind < 0.2:
            connection.rollback()
        elif kind < 0.3:
            self._prepare(connection, names)
        else:
            connection.commit()
            self._committed.add(names)
        if self._choose.random() < 0.1:
            self._draw_early(connection)

    def _prepare(self, connection: Connection, names: Sequence[str]) -> None:
        identity = f"w{self._seed}-{self._number}"
        keep = self._choose.random() < 0.7
        try:
            with connection.cursor() as cursor:
                cursor.execute("PREPARE TRANSACTION %s", (identity,))
        except psycopg2.errors.FeatureNotSupported:
            connection.rollback()  # the trigger woke the reader: PostgreSQL prepares no NOTIFY
            return
        connection.rollback()  # for psycopg2: the server's transaction is over already
        time.sleep(self._choose.random() * 0.1)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"{'COMMIT' if keep else 'ROLLBACK'} PREPARED %s", (identity,))
        connection.autocommit = False
        if keep:
            self._committed.add(names)

    def _draw_early(self, connection: Connection) -> None:
        """Takes an id now that a later transaction inserts."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT nextval('eventos_id_seq')")
            row = cursor.fetchone()
        connection.commit()
        self._early.append(int(row[0]) if row else 0)

    def _insert(self, connection: Connection) -> str:
        self._number += 1
        name = f"w{self._seed}-{self._number}"
        with connection.cursor() as cursor:
            identity = self._early.pop(0) if self._early else None
            if identity is None:
                cursor.execute("SELECT nextval('eventos_id_seq')")
                row = cursor.fetchone()
                identity = int(row[0]) if row else 0
            cursor.execute(_INSERT, (identity, event(name)))
        return name


@contextmanager
def writers(dsn: str, count: int, committed: Committed) -> Iterator[None]:
    """Runs writers until the end of the block, and waits for them."""
    stop = threading.Event()
    threads = [_Writer(dsn, seed, stop, committed) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def random_writers(world: World, seconds: float) -> Outcome:
    """Eight writers in random commit order; a transaction stays open in another database."""
    committed = Committed()
    async with world.running():
        with closing(psycopg2.connect(world.alert_dsn)) as elsewhere:
            with elsewhere.cursor() as cursor:
                cursor.execute("CREATE TABLE elsewhere (a int); INSERT INTO elsewhere VALUES (1)")
            with writers(world.corec_dsn, 8, committed):
                await asyncio.sleep(seconds)
            started = time.monotonic()
            lost, doubled = await compare(world, committed.names, 90.0)
            waited = time.monotonic() - started
            elsewhere.rollback()
    done = f"8 writers, {seconds:g} s"
    return Outcome(done, len(committed.names), lost, doubled, {"last event after, s": waited})


def _configured(world: World, home: Path, webhook: str) -> dict[str, str]:
    """Writes a configuration that tells Discord too; returns the environment that names it."""
    content = {**world.config, "db_config": {"dsn": world.alert_dsn}}
    content["notification_config"]["discord"] = {
        "enabled": True,
        "webhook_url": webhook,
        "digest_above": None,
    }
    home.mkdir(parents=True, exist_ok=True)
    path = home / "alert_manager.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return {"ALERT_MANAGER_CONFIG": str(path)}


class _Load(threading.Thread):
    """Writes events to `eventos` and to a stream, at a steady pace, through outages."""

    def __init__(self, world: World, pause: float, committed: Committed, road: str) -> None:
        super().__init__(name=f"load-{road}")
        self._world, self._pause, self._committed, self._road = world, pause, committed, road
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.wait(self._pause):
            number += 1
            name = f"{self._road}-{number}"
            try:
                self._write(name)
            except (psycopg2.Error, sync_redis.RedisError):
                continue  # not acknowledged: it may be there or not, `compare` is told of neither
            self._committed.add([name])

    def _write(self, name: str) -> None:
        if self._road == "eventos":
            self._world.write("alertas", event(name))
            return
        with closing(sync_redis.Redis.from_url(self._world.redis_url)) as client:
            client.xadd("alertas", {"data": zstandard.ZstdCompressor().compress(event(name))})


@contextmanager
def load(
    world: World, committed: Committed, pause: float, roads: Sequence[str] = ("eventos",)
) -> Iterator[None]:
    """Writes until the end of the block."""
    threads = [_Load(world, pause, committed, road) for road in roads]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stopping.set()
        for thread in threads:
            thread.join()


async def kills(world: World, home: Path, count: int) -> Outcome:
    """Kills the host at random moments while events come by both roads; Discord listens."""
    choose = random.Random(11)
    committed = Committed()
    async with DiscordServer() as discord:
        environment = _configured(world, home, discord.webhook_url)
        with load(world, committed, 0.004, ("eventos", "streams")):
            for _ in range(count):
                with host(world, home, environment=environment) as process:
                    before = len(await asyncio.to_thread(world.alerts))
                    await eventually(lambda n=before: len(world.alerts()) > n, 60.0)  # type: ignore[misc]
                    await asyncio.sleep(choose.random() * 0.5)  # the random moment itself
                    process.kill()
                    await asyncio.to_thread(process.wait)
        with host(world, home, environment=environment):
            lost, doubled = await compare(world, committed.names, 120.0)
            waiting = "SELECT count(*) FROM notifications WHERE status = 'pending'"
            await eventually(lambda: world.alert(waiting) == [(0,)], 300.0)
        repeated, untold = _messages(world, discord)
    figures = {"messages told again": repeated, "alerts that Discord never got": untold}
    return Outcome(f"{count} × kill -9", len(committed.names), lost, doubled, figures)


def _messages(world: World, discord: DiscordServer) -> tuple[float, float]:
    """Returns how many messages came again, and how many alerts came not at all."""
    told = Counter(
        embed["footer"]["text"] for message in discord.messages for embed in message["embeds"]
    )
    alerts = {f"CoreC · alerta {alert['id']}" for alert in world.alerts()}
    return sum(told.values()) - len(told), len(alerts - told.keys())


async def instances(world: World, home: Path, events: int) -> Outcome:
    """Three instances on the same databases; the leader is killed twice on the way."""
    names = [f"e{i}" for i in range(events)]
    leader = "SELECT updated_by FROM reader_positions WHERE source = 'eventos'"
    takeovers: list[float] = []
    running = {f"corec{i}": host(world, home / f"h{i}", f"corec{i}") for i in (1, 2, 3)}
    processes = {name: context.__enter__() for name, context in running.items()}
    try:
        made = "SELECT 1 WHERE to_regclass('reader_positions') IS NOT NULL"
        await eventually(lambda: world.alert(made) and world.alert(leader), 60.0)
        for part in range(3):
            chunk = names[part * events // 3 : (part + 1) * events // 3]
            await asyncio.to_thread(_write_many, world, chunk)
            if part == 2:
                break
            reads = (await asyncio.to_thread(world.alert, leader))[0][0]
            processes[reads].kill()
            killed = time.monotonic()
            await eventually(lambda dead=reads: world.alert(leader)[0][0] != dead, 60.0)  # type: ignore[misc]
            takeovers.append(time.monotonic() - killed)
        lost, doubled = await compare(world, names, 180.0)
    finally:
        for context in running.values():
            context.__exit__(None, None, None)
    figures = {"longest takeover, s": max(takeovers)}
    return Outcome("3 instances, leader killed twice", events, lost, doubled, figures)


def _write_many(world: World, names: Sequence[str]) -> None:
    with closing(psycopg2.connect(world.corec_dsn)) as connection, connection.cursor() as cursor:
        for start in range(0, len(names), 500):
            datos = [event(name) for name in names[start : start + 500]]
            cursor.execute(
                "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
                " SELECT 'alertas', d, extract(epoch FROM now()), 'w'"
                " FROM unnest(%s::bytea[]) AS d",
                (datos,),
            )
            connection.commit()


async def idle_polls(world: World, rows: int, holes: int) -> dict[str, float]:
    """Returns the median milliseconds of a poll at a large table's end: idle, and with holes.

    Beside each the same of the shortest question on the same connection: how slow the machine is.
    """
    world.corec(
        "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
        " SELECT 'alertas', '{}', 1, 'w' FROM generate_series(1, %s)",
        (rows,),
    )
    world.corec("ANALYZE eventos")
    session = PgSession("prueba", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(session, ["alertas"], 1 << 20, ReaderSettings(), Metrics())
    last = int(world.corec("SELECT max(id) FROM eventos")[0][0])
    gaps = tuple(Hole(last + 1 + 2 * i, last + 1 + 2 * i) for i in range(holes))
    blocker = psycopg2.connect(world.corec_dsn)
    try:
        with blocker.cursor() as cursor:  # holes stay open while a writer may fill them
            cursor.execute("SELECT nextval('eventos_id_seq')")
        idle, trip = await _median_poll(reader, session, Position(last))
        place = Position(last + 2 * holes, gaps)
        with_holes, then = await _median_poll(reader, session, place)
    finally:
        blocker.close()
        await session.close()
        reader.close()
    return {
        "idle poll, ms": idle,
        "round trip meanwhile, ms": trip,
        f"poll with {holes} holes, ms": with_holes,
        "round trip then, ms": then,
    }


async def _median_poll(
    reader: EventosReader, session: PgSession, position: Position
) -> tuple[float, float]:
    """Returns median milliseconds of 50 polls, and of round trips in turns with them.

    Of the quickest of five rounds, as noise only adds.
    """
    rounds: list[tuple[float, float]] = []
    for _ in range(5):
        polls: list[float] = []
        trips: list[float] = []
        for _ in range(50):
            started = time.perf_counter()
            fetched = await reader.fetch(position)
            polls.append(time.perf_counter() - started)
            assert not fetched.events
            assert len(fetched.position.holes) == len(position.holes)
            position = fetched.position
            started = time.perf_counter()
            await session.run(lambda connection: connection.cursor().execute("SELECT 1"))
            trips.append(time.perf_counter() - started)
        rounds.append((statistics.median(polls) * 1000, statistics.median(trips) * 1000))
    return min(rounds)


async def loop_lag(stop: asyncio.Event) -> list[float]:
    """Measures the event loop's lag in seconds, until it is told to stop."""
    lags: list[float] = []
    while not stop.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - started - 0.005)
    return lags


def percentile(values: Sequence[float], share: float) -> float:
    ordered: list[Any] = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
