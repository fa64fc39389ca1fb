"""How fast this machine is now: a bound in seconds of processor time says little without it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

_REFERENCE_SECONDS = 0.0200  # what `_work` takes on the machine that the bounds were set on
_WORD = re.compile(r"[a-z]{2,}(?=[=:])")


def _work() -> None:
    """What a plugin does all day: texts, patterns, dictionaries, JSON."""
    for number in range(450):
        record = {f"key{n}": f"text=of {number} and {n}" for n in range(20)}
        text = json.dumps(record)
        assert len(_WORD.findall(text)) == 20
        assert json.loads(text) == record


def slowness() -> float:
    """Returns by how much this thread is slower now than on the reference machine; at least 1.

    Seconds of processor time grow with whatever runs on the other half of a core.
    """
    times = []
    for _ in range(3):
        started = time.thread_time()
        _work()
        times.append(time.thread_time() - started)
    return max(1.0, min(times) / _REFERENCE_SECONDS)


def seconds(call: Callable[[], object]) -> float:
    """Returns the processor time that `call` takes on the reference machine: the best of three.

    One try says little: the garbage of all tests before it may be collected in the middle.
    """
    times = []
    for _ in range(3):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return min(times) / slowness()


def times_as_long(
    slow: Callable[[], object], quick: Callable[[], object], tries: int = 10
) -> float:
    """Returns how many times as long `slow` takes as `quick`, in processor time.

    They take turns and the best of all tries counts: what else runs makes both slower, but seldom
    all the time.
    """
    best = {slow: float("inf"), quick: float("inf")}
    for _ in range(tries):
        for call in best:
            started = time.thread_time()
            call()
            best[call] = min(best[call], time.thread_time() - started)
    return best[slow] / best[quick]
