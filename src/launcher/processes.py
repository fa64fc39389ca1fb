"""Processes that outlive the launcher: who they are, whether they live, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 0.02
LOG_BYTES = 10 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessId:
    """A process beyond doubt: pids are reused, a pid with its start time is not.

    Attributes:
        pid: the process id.
        started: an opaque mark of the start; see `start_mark`.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The living process with this pid; None when it is gone or only waits to be reaped."""
        mark = start_mark(pid)
        return None if mark is None else cls(pid, mark)

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return start_mark(self.pid) == self.started


def start_mark(pid: int) -> str | None:
    """What tells this process from a later one with the same pid; None when nothing runs there.

    On Linux the kernel's own tick count and boot id: psutil's create_time moves with the clock.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if _BOOT_ID.exists():
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            boot = _BOOT_ID.read_text(encoding="ascii").strip()
            # The program's name, in parentheses, may itself hold spaces and parentheses.
            return f"{boot}/{stat.rpartition(')')[2].split()[19]}"
        return f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


@dataclass(frozen=True)
class PidFile:
    """A file that remembers a process across runs of the launcher."""

    path: Path

    def read(self) -> ProcessId | None:
        """What the file says, alive or not; None when there is none or it is unreadable."""
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            return ProcessId(int(value["pid"]), str(value["started"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def running(self) -> ProcessId | None:
        """The process, if it is the remembered one and lives."""
        process = self.read()
        return process if process is not None and process.alive() else None

    def write(self, process: ProcessId) -> None:
        """Remember the process; a reader sees the old file or the new one, never half of it."""
        write_private(self.path, json.dumps(asdict(process)))

    def remove(self) -> None:
        """Forget the process."""
        self.path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(path)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path | None,
    environ: Mapping[str, str],
    cwd: Path = Path("/"),
) -> subprocess.Popen[bytes]:
    """Start a process of its own session, which the terminal's signals do not reach.

    Args:
        command: the program and its arguments.
        log: where it writes, behind what is there; None leaves it our own output.
        environ: its whole environment.
        cwd: its working directory.
    """
    with ExitStack() as stack:
        output = None
        if log is not None:
            if log.exists() and log.stat().st_size > LOG_BYTES:
                log.replace(log.with_name(f"{log.name}.1"))
            output = stack.enter_context(log.open("ab"))
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            cwd=cwd,
            env=dict(environ),
            start_new_session=True,
        )


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until the condition holds; False when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end(process: ProcessId, steps: Sequence[tuple[signal.Signals, float]]) -> signal.Signals | None:
    """Send one signal after the other until the process is gone.

    Args:
        process: whom to end; nothing is sent once it no longer is that process.
        steps: each signal with the seconds to wait for its effect.

    Returns:
        The signal that did it, None when the process was gone already.

    Raises:
        TimeoutError: it outlived all of them.
    """
    if not process.alive():
        return None
    for number, seconds in steps:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return number
        if wait_until(lambda: not process.alive(), seconds):
            return number
    raise TimeoutError(f"el proceso {process.pid} no termina")


def find(
    programs: Collection[str], arguments: Sequence[str], *, only: int | None = None
) -> ProcessId | None:
    """The process that runs a program with these arguments: how a server without pid file is known.

    The executable counts, not what a process is called: an editor or a copy may well have the same
    path on its command line, and who is found here may be killed.

    Args:
        programs: names of executables, any of which will do.
        arguments: arguments in a row, such as `-D` and a data directory.
        only: look at this pid alone.
    """
    wanted = list(arguments)
    for process in psutil.process_iter() if only is None else _process(only):
        try:
            words = process.cmdline()
            starts = range(1, len(words) - len(wanted) + 1)
            if any(words[n : n + len(wanted)] == wanted for n in starts) and (
                executable(process) in programs
            ):
                return ProcessId.of(process.pid)
        except psutil.Error:
            continue
    return None


def executable(process: psutil.Process) -> str:
    """The file name of what a process runs; the kernel's name for it where we may not look.

    Raises:
        psutil.Error: it is gone.
    """
    try:
        # Not psutil's exe(), which believes the command line where it may not look.
        link = Path(f"/proc/{process.pid}/exe")
        path = str(link.readlink()) if link.parent.is_dir() else process.exe()
    except (OSError, psutil.AccessDenied):
        return process.name()
    return Path(path.removesuffix(" (deleted)")).name


def working_in(directory: Path, program: str) -> list[ProcessId]:
    """The processes of a program whose working directory this is, as far as we may look."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(directory) and executable(process) == program:
                found.append(ProcessId.of(process.pid))
        except psutil.Error:
            continue
    return [process for process in found if process is not None]


def with_variable(name: str, argument: str) -> Iterator[tuple[ProcessId, str]]:
    """The processes with an environment variable and its value, as far as we may look.

    Only those with this argument: whoever they start inherits the variable.
    """
    for process in psutil.process_iter():
        try:
            value = process.environ().get(name)
            if value is not None and argument not in process.cmdline():
                continue
        except psutil.Error:
            continue
        found = ProcessId.of(process.pid) if value is not None else None
        if value is not None and found is not None:
            yield found, value


def _process(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def last_lines(path: Path, count: int = 20, *, since: int = 0) -> str:
    """The end of a log, for a message; empty when there is none.

    Args:
        path: the log.
        count: how many lines at most.
        since: leave out this many bytes of the beginning.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(max(since, path.stat().st_size - 16_384))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
