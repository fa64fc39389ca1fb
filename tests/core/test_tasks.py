from __future__ import annotations

import asyncio
import logging

import pytest

from src.utils.retry import retry
from src.utils.tasks import AbortedError, run_bounded

_LOG = logging.getLogger("prueba")


async def test_result_and_fault_pass_through() -> None:
    async def fine() -> int:
        return 7

    async def broken() -> None:
        raise KeyError("k")

    assert await run_bounded(fine(), 1, "bien") == 7
    with pytest.raises(KeyError):
        await run_bounded(broken(), 1, "mal")


async def test_a_hang_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError, match=r"cosa no terminó en 0\.05 s"):
        await run_bounded(hang(), 0.05, "cosa")
    assert cancelled.is_set()


async def test_who_ignores_the_cancellation_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(TimeoutError):
        await run_bounded(stubborn(), 0.05, "terco")
    assert "terco no atiende a su cancelación" in caplog.text
    release.set()


async def test_what_ends_itself_does_not_end_the_caller() -> None:
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    async def exits() -> None:
        raise SystemExit(3)

    with pytest.raises(AbortedError, match="se canceló a sí mismo"):
        await run_bounded(cancels_itself(), 1, "raro")
    with pytest.raises(AbortedError, match=r"sys\.exit"):
        await run_bounded(exits(), 1, "raro")


async def test_cancelling_the_caller_cancels_the_work() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    outer = asyncio.create_task(run_bounded(work(), 60, "obra"))
    await started.wait()
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert cancelled.is_set()


async def test_retry_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    faults = [OSError("postgresql://u:s3creto@h"), OSError("dos")]

    async def attempt() -> str:
        if faults:
            raise faults.pop(0)
        return "sí"

    assert await retry(attempt, (OSError,), what="cosa", max_seconds=30, log=_LOG) == "sí"
    assert "cosa: intento 1 fallido (OSError: postgresql://***@h)" in caplog.text
    assert "s3creto" not in caplog.text


async def test_retry_gives_up_and_other_faults_pass_at_once() -> None:
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        raise OSError("nunca")

    with pytest.raises(OSError, match="nunca"):
        await retry(attempt, (OSError,), what="cosa", max_seconds=0.3, log=_LOG)
    assert tries > 1
    tries = 0
    with pytest.raises(OSError, match="nunca"):
        await retry(attempt, (KeyError,), what="cosa", max_seconds=30, log=_LOG)
    assert tries == 1
