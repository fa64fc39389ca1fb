"""Runs a replay; over many rows, in a process for each core: most channels are judged apart."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Generic, NamedTuple, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..database_settings import LINK
from ..domain.model import RawEvent
from ..domain.shares import independent, shared_out
from ..settings import REPORTS, Settings
from .history import Span, count_rows, pages

LARGE = 100_000  # rows; of fewer, a process takes longer to start than to read them

T = TypeVar("T")
Work = Callable[[Iterator[list[RawEvent]]], T]
"""Takes the pages of a share, and returns what they come to; it travels between processes."""


class ReplayError(Exception):
    """A replay ended before its time; says why."""


class Replayed(NamedTuple, Generic[T]):
    """What a replay came to: of each share, and how many rows there were."""

    results: list[T]
    rows: int


def replayed(
    dsn: str, span: Span, settings: Settings, work: Work[T], on_rows: Callable[[int, int], None]
) -> Replayed[T]:
    """Replays rows of `eventos`.

    Args:
        dsn: of corec_db.
        span: the rows.
        settings: say which channels are watched, and which rules join them.
        work: is called once for each share; commands, on `alert_data`, are in all of them.
        on_rows: hears how many rows were taken, and of how many, now and then.

    Raises:
        ReplayError: corec_db does not answer any more, or a process was killed.
    """
    with _reading(dsn) as connection:
        rows = count_rows(connection, span)
    total = sum(rows.values())
    shares = _shares(settings, rows)
    if len(shares) == 1 or total < LARGE:
        return Replayed([_here(dsn, span, settings, work, lambda n: on_rows(n, total))], total)
    return Replayed(_in_processes(dsn, span, settings, work, shares, on_rows, total), total)


def _shares(settings: Settings, rows: dict[str, int]) -> list[frozenset[str]]:
    specs = settings.alert_config.specs()
    if any(REPORTS in spec.channels for spec in specs):
        return [frozenset(settings.watched())]  # such a rule would speak once in each share
    channels = [channel for channel in settings.watched() if channel != REPORTS]
    shares = shared_out(independent(channels, specs), rows, os.cpu_count() or 1)
    return [share | {REPORTS} for share in shares]


def _here(
    dsn: str,
    span: Span,
    settings: Settings,
    work: Work[T],
    on_rows: Callable[[int], None],
    only: frozenset[str] | None = None,
) -> T:
    def counted(events: Iterator[list[RawEvent]]) -> Iterator[list[RawEvent]]:
        for page in events:
            yield page
            on_rows(len(page))

    with _reading(dsn) as connection:
        return work(counted(pages(connection, span, settings, only)))


@contextlib.contextmanager
def _reading(dsn: str) -> Iterator[Connection]:
    try:
        with contextlib.closing(psycopg2.connect(dsn, **LINK)) as connection:
            connection.set_session(readonly=True, autocommit=True)
            yield connection
    except psycopg2.OperationalError as error:
        raise ReplayError(str(error).strip()) from None


def _in_processes(
    dsn: str,
    span: Span,
    settings: Settings,
    work: Work[T],
    shares: list[frozenset[str]],
    on_rows: Callable[[int, int], None],
    total: int,
) -> list[T]:
    context = multiprocessing.get_context("spawn")  # a fork would share our connections
    processes, pipes = [], []
    for share in shares:
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, dsn, span, settings, work, share)
        processes.append(context.Process(target=_child, args=arguments, daemon=True))
        pipes.append(ours)
        processes[-1].start()
        theirs.close()  # or its end would go unnoticed
    try:
        return _collected(pipes, lambda n: on_rows(n, total))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _collected(pipes: list[Pipe], on_rows: Callable[[int], None]) -> list[T]:
    results: list[T] = []
    open_pipes = list(pipes)
    while open_pipes:
        ready = wait(open_pipes)
        for pipe in [pipe for pipe in open_pipes if pipe in ready]:
            try:
                kind, content = pipe.recv()
            except EOFError:
                raise ReplayError("un proceso del backtest terminó antes de tiempo") from None
            if kind == "rows":
                on_rows(content)
                continue
            open_pipes.remove(pipe)
            if kind == "failed":
                raise ReplayError(content)
            results.append(content)
    return results


def _child(
    pipe: Pipe, dsn: str, span: Span, settings: Settings, work: Work[T], share: frozenset[str]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends us
    # What is read and judged has no cycles: looking for them all the time takes 5 % of it.
    gc.freeze()
    gc.set_threshold(50_000)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        try:
            result = _here(dsn, span, settings, work, lambda n: pipe.send(("rows", n)), share)
        except ReplayError as error:
            pipe.send(("failed", str(error)))
        else:
            pipe.send(("done", result))
