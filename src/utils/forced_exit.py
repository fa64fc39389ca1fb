"""An end of the process that nothing can put off, and what stood in its way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import sys
import threading
from concurrent.futures import thread as pool_module
from pathlib import Path
from types import FrameType
from typing import Any

_LOG = logging.getLogger(__name__)

TELL_SECONDS = 0.4
_MAX_NAMES = 10
_MAX_FRAMES = 3
# Where a thread is that only waits for work: the event loop, and a worker of a pool.
_IDLE = frozenset({(selectors.__file__, "select"), (pool_module.__file__, "_worker")})


def exit_after(seconds: float, code: int, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """End the process after `seconds`, unless it ended by then; the log says what did not end.

    Neither a blocked event loop nor a thread that hangs, for which Python waits at its end, can
    delay it by more than 0.4 s.

    Args:
        seconds: from now.
        code: the exit code.
        loop: whose tasks to name.
    """
    timer = threading.Timer(seconds, _exit, (seconds, code, loop))
    timer.name = "parada forzada"
    timer.daemon = True
    timer.start()


def _exit(seconds: float, code: int, loop: asyncio.AbstractEventLoop | None) -> None:
    try:
        # In a thread: a log that blocks is one more thing that must not keep the process.
        teller = threading.Thread(target=_tell, args=(seconds, loop), daemon=True)
        teller.start()
        teller.join(TELL_SECONDS)
    finally:
        os._exit(code)


def _tell(seconds: float, loop: asyncio.AbstractEventLoop | None) -> None:
    _LOG.critical("parada forzada: tras %g s no terminó: %s", seconds, "; ".join(unfinished(loop)))


def unfinished(loop: asyncio.AbstractEventLoop | None) -> list[str]:
    """Name what keeps the process: blocked code of the main thread, threads, tasks (Spanish)."""
    frames = sys._current_frames()
    main = threading.main_thread()
    found = []
    if loop is not None and not loop.is_closed() and (blocked := frames.get(main.ident or 0)):
        if not _is_idle(blocked):
            found.append(f"el bucle de eventos, bloqueado en {_place(blocked)}")
        if tasks := _task_names(loop):
            found.append(f"las tareas {tasks}")
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is main or thread.daemon or frame is None or _is_idle(frame):
            continue
        found.append(f"el hilo {thread.name}, en {_place(frame)}")
    return found[:_MAX_NAMES] or ["el intérprete de Python"]


def _is_idle(frame: FrameType) -> bool:
    return (frame.f_code.co_filename, frame.f_code.co_name) in _IDLE


def _place(frame: FrameType | None) -> str:
    """The innermost frames, the outermost of them first."""
    places: list[str] = []
    while frame is not None and len(places) < _MAX_FRAMES:
        code = frame.f_code
        file = "/".join(Path(code.co_filename).parts[-2:])
        places.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " > ".join(reversed(places))


def _task_names(loop: asyncio.AbstractEventLoop) -> str:
    names: list[str] = []
    with contextlib.suppress(RuntimeError):  # the loop made one while they were counted
        names = sorted(_task_name(task) for task in asyncio.all_tasks(loop))
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" y {more} más" if more > 0 else "")


def _task_name(task: asyncio.Task[Any]) -> str:
    name = task.get_name()
    # "Task-7" says nothing; a task that somebody named does.
    return getattr(task.get_coro(), "__qualname__", name) if name.startswith("Task-") else name
