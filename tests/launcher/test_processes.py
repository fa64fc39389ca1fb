from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.launcher.processes import (
    PidFile,
    ProcessId,
    end,
    find,
    last_lines,
    start_mark,
    wait_until,
    with_variable,
    working_in,
    write_private,
)

_STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


def test_a_reused_pid_is_not_the_process() -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    assert me.alive()
    assert not ProcessId(me.pid, "an earlier boot/17").alive()


def test_a_dead_process_that_waits_to_be_reaped_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = ProcessId.of(child.pid)
    assert process is not None
    assert process.alive()
    child.kill()
    assert wait_until(lambda: not process.alive(), 10)
    assert start_mark(child.pid) is None
    child.communicate()
    assert ProcessId.of(child.pid) is None


def test_end_goes_on_to_the_next_signal() -> None:
    child = subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    process = ProcessId.of(child.pid)
    assert process is not None
    with pytest.raises(TimeoutError, match=str(child.pid)):
        end(process, [(signal.SIGTERM, 0.1)])
    assert end(process, [(signal.SIGTERM, 0.1), (signal.SIGKILL, 10.0)]) is signal.SIGKILL
    assert end(process, [(signal.SIGKILL, 10.0)]) is None
    child.communicate()


@pytest.mark.parametrize("text", ["", "17", "{", '{"pid": "x", "started": "1"}', '{"pid": 1}'])
def test_an_unreadable_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pid.json"
    path.write_text(text)
    assert PidFile(path).read() is None
    assert PidFile(path).running() is None


def test_a_pid_file_remembers_the_process(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "pid.json")
    assert file.read() is None
    me = ProcessId.of(os.getpid())
    assert me is not None
    file.write(me)
    assert file.running() == me
    assert json.loads(file.path.read_text())["pid"] == os.getpid()
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.remove()
    file.remove()


def test_write_private_replaces_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "secret")
    assert path.read_text() == "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_find_wants_the_executable_and_whole_arguments_in_a_row(tmp_path: Path) -> None:
    mark = str(tmp_path / "data")
    program = Path(os.path.realpath(sys.executable)).name
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", "-D", mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = find({program}, ("-D", mark))
        assert found is not None
        assert found.pid == child.pid
        assert find({program}, ("-D", mark), only=child.pid) == found
        assert find({"postgres"}, ("-D", mark)) is None
        assert find({program}, ("-D", mark[:-1])) is None
        assert find({program}, (mark, "-D")) is None
        assert find({program}, ("-D", mark), only=os.getpid()) is None
        child.communicate(b"\n")


def test_find_believes_the_kernel_and_not_the_name_that_a_process_gives_itself(
    tmp_path: Path,
) -> None:
    mark = str(tmp_path / "data")
    with subprocess.Popen(
        ["/opt/postgres", "60", "-D", mark], executable=str(shutil.which("tail"))
    ) as child:
        try:
            assert find({"postgres"}, ("-D", mark)) is None
        finally:
            child.kill()


def test_processes_are_known_by_a_variable_and_by_their_folder(tmp_path: Path) -> None:
    name, value = "COREC_TEST_MARK", str(tmp_path)
    program = Path(os.path.realpath(sys.executable)).name
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", "main.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, name: value},
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = [process for process, mark in with_variable(name, "main.py") if mark == value]
        assert [process.pid for process in found] == [child.pid]
        # Whoever it starts inherits the variable, and is another program.
        assert value not in dict(with_variable(name, "other.py")).values()
        assert [found.pid for found in working_in(tmp_path, program)] == [child.pid]
        assert working_in(tmp_path, "postgres") == []
        child.communicate(b"\n")


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_text("old\n" + "".join(f"{n}\n" for n in range(30)))
    assert last_lines(log, 2) == "28\n29"
    assert last_lines(log, 50, since=4).splitlines()[0] == "0"
