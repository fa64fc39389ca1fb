"""`/health` turns 503 within 10 s of each part's failure, names it, and turns back within 10 s.

Real servers are taken away, cut off, frozen and made slow; `/health` is asked over HTTP, as an
orchestrator would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg2
import pytest
import yaml
from psycopg2.extensions import make_dsn, parse_dsn

from src.plugins.alert_manager import read_loop
from src.plugins.alert_manager.domain.delivery import ChannelState
from src.plugins.alert_manager.health import Health, Part, Question, Report
from src.plugins.alert_manager.health_parts import delivery_parts
from src.plugins.alert_manager.processors.alert_processor import AlertProcessor
from tests.plugins.conftest import BROKEN as NO_COMMIT
from tests.plugins.conftest import World, eventually
from tests.plugins.test_delivery import tell
from tests.support.discord import BROKEN, GONE, DiscordServer, limited
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres, TestRedis

SOON = 10.0  # seconds; what issue and documents promise
_TAKEOVER = 2.0  # seconds in which nobody listens while a new configuration takes over


@dataclass
class Probe:
    """Asks a running processor over HTTP."""

    client: aiohttp.ClientSession
    processor: AlertProcessor

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.client.get(f"http://127.0.0.1:{self.processor.puerto}{path}") as answer:
            return answer.status, await answer.json()

    async def get_after_takeover(self, path: str) -> tuple[int, dict[str, Any]]:
        """Asks while a new configuration takes over, until somebody listens."""
        until = time.monotonic() + _TAKEOVER
        while True:
            try:
                return await self.get(path)
            except aiohttp.ClientConnectionError:
                assert time.monotonic() < until
                await asyncio.sleep(0.05)

    async def until(self, status: int, wrong: Collection[str] = ()) -> tuple[float, dict[str, Any]]:
        """Waits until /health answers so; returns after how many seconds, and the answer."""
        began = time.monotonic()
        while True:
            try:
                code, body = await self.get("/health")
            except aiohttp.ClientConnectionError:  # while a new configuration takes over
                code, body = 0, {}
            took = time.monotonic() - began
            if code == status and set(wrong) <= set(body["mal"]):
                return took, body
            assert took < SOON, (code, body)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def probing(world: World) -> AsyncIterator[Probe]:
    timeout = aiohttp.ClientTimeout(total=6)
    async with world.running() as processor, aiohttp.ClientSession(timeout=timeout) as client:
        probe = Probe(client, processor)
        await probe.until(200)
        yield probe


def lose(world: World, name: str) -> None:
    world.write("trading_results", f'{{"profit": -500, "symbol": "{name}"}}')


@asynccontextmanager
async def shut(server: TestPostgres, dsn: str) -> AsyncIterator[None]:
    """Throws everybody out of one database, and lets nobody in."""
    name = parse_dsn(dsn)["dbname"]

    def run(*statements: str) -> None:
        connection = psycopg2.connect(server.dsn("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    await asyncio.to_thread(run, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', end)
    try:
        yield
    finally:
        await asyncio.to_thread(run, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@pytest.mark.parametrize("database", ["corec_db", "alert_db"])
async def test_a_database_that_lets_nobody_in(
    world: World, postgres_server: TestPostgres, database: str
) -> None:
    dsn = world.corec_dsn if database == "corec_db" else world.alert_dsn
    async with probing(world) as probe:
        async with shut(postgres_server, dsn):
            _, body = await probe.until(503, [database])
            assert body["estado"] == "error"
            assert "currently accepting connections" in body["partes"][database]["detalle"]
            assert (await probe.get("/live"))[0] == 200  # a restart would not help
        await probe.until(200)


@pytest.mark.parametrize("database", ["corec_db", "alert_db"])
async def test_a_database_that_falls_silent(world: World, database: str) -> None:
    dsn = world.corec_dsn if database == "corec_db" else world.alert_dsn
    with postgres_proxy(dsn) as (cut, parameters):
        through = make_dsn(**parameters)
        field = {"corec_db": "corec_dsn", "alert_db": "alert_dsn"}[database]
        async with probing(replace(world, **{field: through})) as probe:
            cut.freeze()
            # Without alert_db no source goes on, whatever waits for its answer meanwhile.
            sources = ["lector", "streams"] if database == "alert_db" else []
            await probe.until(503, [database, *sources])
            assert (await probe.get("/live"))[0] == 200
            cut.thaw()
            await probe.until(200)


async def test_an_alert_db_that_answers_and_stores_nothing(world: World) -> None:
    async with probing(world) as probe:
        world.alert(NO_COMMIT)
        lose(world, "A")
        _, body = await probe.until(503, ["alert_db"])
        assert "no guarda nada" in body["partes"]["alert_db"]["detalle"]
        world.alert("DROP TRIGGER broken ON alerts")
        await probe.until(200)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_a_redis_that_is_away_degrades(
    world: World, redis_server: TestRedis, how: str
) -> None:
    """Also with reports for its stream that wait, and a breaker that opened over them."""
    world.config["config"]["circuit_breaker"] = {"max_failures": 2, "reset_timeout": 60}
    pid = redis_server.pid()
    assert pid is not None
    async with probing(world) as probe:
        if how == "stopped":
            await asyncio.to_thread(redis_server.stop)
        else:
            os.kill(pid, signal.SIGSTOP)
        lose(world, "A")
        try:
            _, body = await probe.until(503, ["redis"])
            assert body["estado"] == "degradado"  # nothing is lost, and nothing untold
            if how == "stopped":
                await probe.until(503, ["redis", "streams", "canal alert_data_stream"])
        finally:
            if how == "stopped":
                await asyncio.to_thread(redis_server.start)
            else:
                os.kill(pid, signal.SIGCONT)
        await probe.until(200)


async def test_a_reader_that_falls_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_loop, "BEHIND", 1.0)  # instead of a minute
    world.config["config"]["reader"]["batch_size"] = 1
    async with probing(world) as probe:
        world.alert(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(0.2); RETURN new; END $$;"
            " CREATE TRIGGER slow BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        for number in range(20):
            lose(world, f"S{number}")
        _, body = await probe.until(503, ["lector"])
        assert "por detrás" in body["partes"]["lector"]["detalle"]
        assert body["mal"] == ["lector"]
        await eventually(lambda: len(world.alerts()) == 20)
        await probe.until(200)


async def test_a_delivery_that_may_not_take_messages(world: World) -> None:
    user = parse_dsn(world.alert_dsn)["user"]
    async with probing(world) as probe:
        world.alert(f"REVOKE UPDATE ON notifications FROM {user}")
        lose(world, "A")
        _, body = await probe.until(503, ["entrega"])
        assert "no se reparte ningún aviso" in body["partes"]["entrega"]["detalle"]
        world.alert(f"GRANT UPDATE ON notifications TO {user}")
        await probe.until(200)


@pytest.fixture
def file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Writes the world's configuration into the file that its processor watches."""
    path = tmp_path / "alertas.yaml"
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(path))
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)

    def write() -> None:
        path.write_text(yaml.safe_dump(world.config), encoding="utf-8")

    write()
    return write


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("delivery-log", "entrega"),
        ("delivery-expiry", "entrega"),
        ("read-eventos", "lector"),
        ("read-streams", "streams"),
        ("degraded", "vigilancia"),
    ],
)
async def test_a_task_that_died_is_what_a_restart_is_for(
    world: World, file: Callable[[], None], task: str, part: str
) -> None:
    async with probing(world) as probe:
        [running] = [one for one in asyncio.all_tasks() if one.get_name() == task]
        while not running.done():  # a driver may swallow one
            running.cancel()
            await asyncio.wait({running}, timeout=0.1)
        _, body = await probe.until(503, [part])
        assert body["estado"] == "error"
        assert "reinicia CoreC" in body["partes"][part]["detalle"]
        status, live = await probe.get("/live")
        assert (status, live) == (503, {"estado": "reiniciar", "mal": [part]})
        world.config["alert_config"]["thresholds"]["vix"] = 21  # all parts are made anew
        file()
        await probe.until(200)
        answer = await probe.get_after_takeover("/live")
        assert answer == (200, {"estado": "vivo", "mal": []})


async def test_a_channel_whose_breaker_is_open(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        async with probing(world) as probe:
            discord.always = BROKEN
            lose(world, "A")
            _, body = await probe.until(503, ["canal discord", "entrega"])
            assert "circuit breaker abierto" in body["partes"]["canal discord"]["detalle"]
            assert body["estado"] == "error"  # there is no other one for people
            assert (await probe.get("/live"))[0] == 200
            discord.always = None
            await probe.until(200)


async def test_a_channel_that_is_gone_degrades_where_others_tell(
    world: World, file: Callable[[], None]
) -> None:
    async with DiscordServer() as discord, DiscordServer() as second:
        tell(world, discord, None)
        world.config["notification_channels"].append("familia")
        settings = {"type": "discord", "enabled": True, "webhook_url": second.webhook_url}
        world.config["notification_config"]["familia"] = settings
        discord.always = GONE
        file()
        async with probing(world) as probe:
            lose(world, "A")
            _, body = await probe.until(503, ["canal discord"])
            assert body["estado"] == "degradado"
            assert "deshabilitado" in body["partes"]["canal discord"]["detalle"]
            discord.always = None
            world.config["alert_config"]["thresholds"]["vix"] = 21
            file()
            await probe.until(200)


async def test_a_channel_whose_server_wants_nothing_for_long(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        async with probing(world) as probe:
            discord.always = limited(3600)
            lose(world, "A")
            _, body = await probe.until(503, ["canal discord"])
            assert "pide esperar" in body["partes"]["canal discord"]["detalle"]


async def test_a_process_without_redis_is_whole(world: World) -> None:
    world.redis_url = ""
    async with probing(world) as probe:
        _, body = await probe.get("/health")
    assert body["partes"]["redis"]["detalle"].startswith("CoreC no usa Redis")


async def test_a_part_that_hangs_or_fails_in_a_new_way_hides_no_other() -> None:
    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    async def fails() -> str:
        raise KeyError("clave=s3creto")

    async def works() -> str:
        return "postgresql://u:s3creto@h/d"

    questions = {"a": Question(hangs), "b": Question(fails, vital=False), "c": Question(works)}
    health = Health(questions, lambda: {"d": Part(True, "ok")})
    began = time.monotonic()
    report = await health.report()
    assert time.monotonic() - began < 5.0
    assert report.wrong == ("a", "b")
    assert report.parts["a"].detail == "sin respuesta en 4.5 s"
    assert report.parts["b"].detail == "fallo inesperado: KeyError"
    assert "s3creto" not in str(report.as_json())


@pytest.mark.parametrize(
    ("parts", "state"),
    [
        ({"a": Part(True, "")}, "ok"),
        ({"a": Part(True, ""), "b": Part(False, "", vital=False)}, "degradado"),
        ({"a": Part(False, ""), "b": Part(False, "", vital=False)}, "error"),
    ],
)
def test_the_whole_is_as_well_as_its_parts(parts: dict[str, Part], state: str) -> None:
    assert Report(parts).state == state
    assert Report(parts).ok == (state == "ok")


@pytest.mark.parametrize(
    ("states", "ok"),
    [
        ({"log": "ok", "discord": "open", "email": "ok"}, True),
        ({"log": "ok", "discord": "open", "email": "open"}, False),  # the log wakes nobody
        ({"log": "ok", "alert_data": "open"}, True),
        ({"log": "open", "alert_data": "ok"}, True),  # a program has it
        ({"log": "open", "alert_data": "open"}, False),
        ({}, True),
    ],
)
def test_delivery_works_while_somebody_can_be_told(states: dict[str, str], ok: bool) -> None:
    breakers = {"ok": "closed", "open": "open"}
    doing = {name: ChannelState(breakers[s], False, None, None) for name, s in states.items()}
    assert delivery_parts(doing, {"log", "alert_data"}, [], None)["entrega"].ok is ok
