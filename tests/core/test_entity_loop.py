"""The loop of an entity: it outlives faults, skips beats when late, and stops in time."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tests.core.helpers import ERRORS, Make, OwnReader, Script, published, query, until
from tests.support.servers import TestPostgres


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("kind", ["raises", "exits", "cancels itself", "no json"])
async def test_the_loop_outlives_faults_and_counts_them(
    make: Make, corec_dsn: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work(datos: dict[str, Any]) -> Any:
        if kind == "raises":
            raise RuntimeError("roto")
        if kind == "exits":
            sys.exit(0)
        return _cancels_itself() if kind == "cancels itself" else {"a": object()}

    celu = make(work, instance_id="i9")
    task = asyncio.create_task(celu.ejecutar())
    await until(lambda: len(query(corec_dsn, ERRORS)) >= 3)
    assert not task.done()
    await celu.detener()
    await asyncio.wait_for(task, 5)
    tipo, detalle, instance_id = query(corec_dsn, ERRORS)[0]
    assert (tipo, instance_id) == ("error_procesador", "i9")
    assert detalle.startswith("nano_x (canal_x): ")
    lines = [r for r in caplog.records if r.levelname == "ERROR" and "nano_x" in r.getMessage()]
    assert len(lines) == 1  # the same fault again is no news


async def test_the_loop_outlives_a_database_that_is_away(
    make: Make, postgres_server: TestPostgres, corec_dsn: str
) -> None:
    processor = Script(lambda datos: {"n": 1})
    celu = make(processor)
    task = asyncio.create_task(celu.ejecutar())
    try:
        await until(lambda: processor.seen)
        await asyncio.to_thread(postgres_server.stop, "fast")
        seen = len(processor.seen)
    finally:
        await asyncio.to_thread(postgres_server.start)
    await until(lambda: len(processor.seen) > seen)
    assert not task.done()


async def test_a_slow_step_skips_beats_and_does_not_pile_up(make: Make) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()

    async def work() -> dict[str, Any]:
        times.append(loop.time())
        await asyncio.sleep(0.25 if len(times) == 1 else 0)
        return {}

    celu = make(OwnReader(lambda datos: work()), intervalo=0.1)
    task = asyncio.create_task(celu.ejecutar())
    await until(lambda: len(times) >= 4)
    await celu.detener()
    await task
    # Beats at 0, 0.3 (0.1 and 0.2 are lost), 0.4, 0.5: on the grid, never in a burst.
    gaps = [later - times[0] for later in times[1:4]]
    for gap, planned in zip(gaps, (0.3, 0.4, 0.5), strict=True):
        assert planned - 0.01 <= gap
    assert times[3] - times[1] > 0.15
    assert celu.latido().carga < 1


async def test_stop_lets_the_step_finish(make: Make, corec_dsn: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> dict[str, Any]:
        begun.set()
        await go_on.wait()
        return {"n": 1}

    celu = make(lambda datos: work())
    task = asyncio.create_task(celu.ejecutar())
    await begun.wait()
    stop = asyncio.create_task(celu.detener())
    await asyncio.sleep(0)
    go_on.set()
    await stop
    await asyncio.wait_for(task, 5)
    assert published(corec_dsn, "canal_x") == [{"n": 1}]
    await celu.detener()


async def test_stop_cancels_a_step_that_hangs(make: Make, corec_dsn: str) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    celu = make(lambda datos: work())
    task = asyncio.create_task(celu.ejecutar())
    await begun.wait()
    await asyncio.wait_for(celu.detener(), 5)
    await asyncio.wait_for(task, 5)
    assert cancelled.is_set()
    assert query(corec_dsn, ERRORS) == []
