"""Ctrl-C and its kin: the first one begins an orderly way out, the later ones don't disturb it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

from src.launcher.output import complain

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_held = 0
_pending: int | None = None


def handle_ending(handler: Callable[[int, FrameType | None], None]) -> None:
    """Let a function handle every signal that asks for an end, save those ignored from the start.

    `nohup`, and a shell script that starts us in the background, want these to stay ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def unwind_on_signals() -> None:
    """Make the first of them an exception, KeyboardInterrupt or SystemExit; ignore the later ones.

    An exception, so that what was started is stopped on the way out, once and undisturbed.
    """
    handle_ending(_unwind)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold the exception back: what forks a process must also get to remember it."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _pending is not None and not _held:
        _raise(_pending)


class Undo(ExitStack):
    """What to do unless all goes well; once it has begun, no signal disturbs it.

    A signal may still come between the fault and `__exit__`. Because only the first one raises,
    calling `close` once more, from a `finally` around the `with`, does what was left undone.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool:
        """Undo, unless everything was popped."""
        if kind is not None:
            _ignore_ending()
            if not issubclass(kind, Exception):
                complain("Interrumpido: se detiene lo que este arranque había empezado…")
        return bool(super().__exit__(kind, fault, trace))


def _ignore_ending() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _unwind(number: int, frame: FrameType | None) -> None:
    global _pending
    del frame
    _ignore_ending()
    if _held:
        _pending = number
    else:
        _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
