from __future__ import annotations

import asyncio
import inspect
import logging
import warnings
from collections.abc import Callable

import backoff
import pytest

from src.utils.retry import retry


class TryAgainError(Exception):
    pass


async def test_on_python_3_14_backoff_warns_of_nothing_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deprecated(fn: Callable[..., object]) -> bool:
        warnings.warn(
            "'asyncio.iscoroutinefunction' is deprecated and slated for removal in Python 3.16; "
            "use inspect.iscoroutinefunction() instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return inspect.iscoroutinefunction(fn)

    monkeypatch.setattr(asyncio, "iscoroutinefunction", deprecated)  # what 3.14 does
    tries: list[int] = []

    async def second_time() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise TryAgainError
        return "hecho"

    done = await retry(
        second_time,
        (TryAgainError,),
        what="prueba",
        max_seconds=5,
        log=logging.getLogger("prueba"),
    )
    assert done == "hecho"
    backoff.on_exception(backoff.expo, TryAgainError)(second_time)
    with pytest.raises(DeprecationWarning):  # our own code is to be mended instead
        asyncio.iscoroutinefunction(second_time)
