"""A configuration that changes while everything runs: nothing is lost, a bad one is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg2.extensions import make_dsn

from src.core.event import Event
from src.plugins.alert_manager import config_watch
from src.plugins.alert_manager.config_watch import ConfigWatch
from src.plugins.alert_manager.running import Running
from src.plugins.alert_manager.web.server import WebServer
from tests.plugins.conftest import World, eventually
from tests.plugins.hosts import health, host
from tests.plugins.payloads import event, to_json
from tests.support.proxy import postgres_proxy


class File:
    """The configuration's file."""

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self.content: dict[str, Any] = {**world.config, "db_config": {"dsn": world.alert_dsn}}
        self.write()

    def write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(yaml.safe_dump(self.content), encoding="utf-8")
        part.replace(self.path)


@pytest.fixture
def file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> File:
    monkeypatch.setattr(config_watch, "INTERVAL", 0.1)
    file = File(tmp_path / "alertas.yaml", world)
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(file.path))
    return file


def gains(world: World) -> list[str]:
    return [a["event_data"]["symbol"] for a in world.alerts() if a["rule"] == "ganancia"]


def gain(world: World, profit: float) -> None:
    world.write("trading_results", to_json({"profit": profit, "symbol": f"S{profit}"}))


@contextlib.contextmanager
def writing(world: World) -> Iterator[list[str]]:
    """A writer beside everything else; gives what is committed."""
    stop, names = threading.Event(), list[str]()

    def write() -> None:
        while not stop.wait(0.005):
            name = f"w{len(names)}"
            world.write("alertas", event(name))
            names.append(name)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield names
    finally:
        stop.set()
        thread.join()


async def test_a_new_file_counts_from_then_on_and_no_event_is_lost(
    world: World, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pushed = 0
    async with world.running() as processor:
        port = processor.puerto
        gain(world, 201)
        await eventually(lambda: gains(world) == ["S201"])
        with writing(world) as names:
            for number in (300, 400, 500):
                file.content["alert_config"]["thresholds"]["gain"] = number
                file.write()
                loads = caplog.text.count("cargada de nuevo")
                while caplog.text.count("cargada de nuevo") == loads:
                    await processor.manejar_evento(Event("alertas", {"tipo": "t", "n": pushed}))
                    pushed += 1
                    await processor.procesar({}, {})
                    await asyncio.sleep(0.01)
        gain(world, 450)
        gain(world, 550)
        await eventually(lambda: gains(world) == ["S201", "S550"])
        assert processor.puerto == port
        told = "SELECT count(*) FROM notifications WHERE status <> 'sent'"
        await eventually(lambda: world.alert(told) == [(0,)])
    written = [a for a in world.alerts() if a["source"] == "eventos" and a["rule"] == "otro_aviso"]
    assert sorted(a["event_data"]["plugin"] for a in written) == sorted(names)
    assert {a["occurrences"] for a in world.alerts()} == {1}
    assert sum(a["source"] == "push" for a in world.alerts()) == pushed


async def test_a_bad_file_is_refused_with_its_fault_and_told_once(
    world: World, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> list[dict[str, Any]]:
        return [a for a in world.alerts() if a["rule"] == "configuracion_rechazada"]

    caplog.set_level("INFO")
    async with world.running():
        file.content["alert_config"]["thresholds"]["vix"] = "mucho"
        file.content["db_config"]["password"] = "hunter2-K3Y"
        file.write()
        await eventually(refused)
        gain(world, 201)
        await eventually(lambda: gains(world) == ["S201"])
        file.path.write_text("alert_config: [", encoding="utf-8")
        await eventually(lambda: len(refused()) == 2)
        await asyncio.sleep(1)
        file.content["alert_config"]["thresholds"] |= {"vix": 20, "gain": 300}
        del file.content["db_config"]["password"]
        file.write()
        await eventually(lambda: "cargada de nuevo" in caplog.text)
        gain(world, 250)
        gain(world, 350)
        await eventually(lambda: gains(world) == ["S201", "S350"])
    first, second = refused()
    fault = "alert_config.thresholds.vix: se encontró 'mucho'; se espera un número"
    assert fault in first["message"]
    assert "no es YAML" in second["message"]
    assert [first["occurrences"], second["occurrences"]] == [1, 1]
    assert "hunter2" not in str(world.alerts()) + caplog.text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nota: 2024-13-45", "un valor no se entiende: ValueError"),
        ("a: " + "[" * 5000, "no se entiende: RecursionError"),
        ("alert_config: {rules: [{expression: '" + "(" * 5000 + "'}]}", "alert_config.rules.0"),
    ],
)
async def test_whatever_is_in_the_file_it_is_refused_and_told(
    world: World, file: File, text: str, fault: str
) -> None:
    async with world.running():
        file.path.write_text(text, encoding="utf-8")
        (alert,) = await eventually(world.alerts)
        assert alert["rule"] == "configuracion_rechazada"
        assert fault in alert["message"]
        gain(world, 250)
        await eventually(lambda: gains(world) == ["S250"])


async def test_what_cannot_be_started_leaves_what_ran_and_is_told(
    world: World, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failures = WebServer.start, ["once"]

    async def failing(self: WebServer) -> None:
        if failures:
            raise RuntimeError(failures.pop())
        await start(self)

    async with world.running() as processor:
        monkeypatch.setattr(WebServer, "start", failing)
        file.content["alert_config"]["thresholds"]["gain"] = 300
        file.write()
        (alert,) = await eventually(world.alerts)
        assert alert["rule"] == "configuracion_rechazada"
        assert "no se puede usar (RuntimeError)" in alert["message"]
        gain(world, 250)
        await eventually(lambda: gains(world) == ["S250"])
        assert (await processor.procesar(None, {}))["estado"] == "ok"
        file.content["alert_config"]["thresholds"]["gain"] = 400
        file.write()
        await asyncio.sleep(1)
        gain(world, 350)
        gain(world, 450)
        await eventually(lambda: gains(world) == ["S250", "S450"])


async def test_a_database_that_does_not_answer_is_refused(world: World, file: File) -> None:
    async with world.running():
        nobody = make_dsn(world.alert_dsn, port=1, password="hunter2-K3Y")
        file.content["db_config"] = {"dsn": nobody}
        file.write()
        (alert,) = await eventually(world.alerts)
        assert alert["rule"] == "configuracion_rechazada"
        assert "db_config: alert_db no está ahí" in alert["message"]
        assert "hunter2" not in str(alert)
        gain(world, 250)
        await eventually(lambda: gains(world) == ["S250"])


async def test_a_bad_file_is_told_when_alert_db_is_back(
    world: World, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres_proxy(world.alert_dsn) as (proxy, parameters):
        file.content["db_config"] = {"dsn": make_dsn(**parameters)}
        file.write()
        async with world.running():
            proxy.freeze()
            file.content["alert_config"]["thresholds"]["vix"] = "mucho"
            file.write()
            await eventually(lambda: "la configuración nueva se rechaza" in caplog.text)
            await asyncio.sleep(3)
            assert world.alerts() == []
            proxy.thaw()
            (alert,) = await eventually(world.alerts, 90.0)
        assert alert["rule"] == "configuracion_rechazada"


async def test_sighup_reads_the_file_and_ends_nothing(world: World, file: File) -> None:
    home = file.path.parent / "h"
    variables = {"ALERT_MANAGER_CONFIG": str(file.path)}
    with host(world, home, environment=variables) as process:
        await eventually(lambda: health(home)[0] == 200, 60.0)
        os.kill(process.pid, signal.SIGHUP)
        log = home / "out"
        await eventually(lambda: "cargada de nuevo" in log.read_text(encoding="utf-8"))
        gain(world, 250)
        await eventually(lambda: gains(world) == ["S250"])
        await eventually(lambda: health(home)[0] == 200)
        assert process.poll() is None


def test_a_file_is_read_when_whoever_writes_it_has_finished(file: File) -> None:
    watch = ConfigWatch(file.path)
    text = file.path.read_text(encoding="utf-8")
    for part in range(1, 8):
        file.path.write_text(text + "#" * part, encoding="utf-8")
        assert not watch.look()
    file.path.unlink()  # an editor puts another file in its place
    assert not watch.look()
    file.path.write_text(text + "# finished", encoding="utf-8")
    assert [watch.look() for _ in range(4)] == [False, True, False, False]
    file.path.write_text(text, encoding="utf-8")
    assert [watch.look() for _ in range(3)] == [False, True, False]


async def test_what_runs_is_replaced_when_nobody_uses_it() -> None:
    running: Running[str] = Running()
    with pytest.raises(RuntimeError, match="no está en marcha"):
        running.get()
    running.set("old")
    order: list[str] = []

    async def change(parts: str) -> str:
        order.append(f"change {parts}")
        await asyncio.sleep(0.05)
        return "new"

    async with running.use() as parts:
        replacing = asyncio.create_task(running.replace(change))
        await asyncio.sleep(0.05)
        assert order == []
        assert parts == "old"
    async with running.use() as parts:
        order.append(f"use {parts}")
    assert order == ["change old", "use new"]
    await replacing


async def test_a_replacement_that_is_cut_off_ends_all_the_same() -> None:
    running: Running[str] = Running()
    running.set("old")
    begun = asyncio.Event()

    async def change(parts: str) -> str:
        begun.set()
        await asyncio.sleep(0.05)
        return "new"

    replacing = asyncio.create_task(running.replace(change))
    await begun.wait()
    replacing.cancel()
    async with running.closing() as parts:
        assert parts == "new"
