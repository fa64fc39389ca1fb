"""Ctrl-C and its kin, once and again, while something starts, runs or ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.launcher.health import Endpoint
from src.launcher.home import Home
from src.launcher.host import Host
from src.launcher.processes import start_mark, wait_until
from tests.launcher.project import PROJECT, Project, change, copy_project

pytestmark = pytest.mark.e2e

# Hears SIGTERM, says so and stays. It is never healthy.
_STUBBORN = """
import os, pathlib, signal
home = pathlib.Path(os.environ["COREC_HOME"])
signal.signal(signal.SIGTERM, lambda *_: (home / "heard").touch())
(home / "up").touch()
while True:
    signal.pause()
"""


def test_foreground_ends_with_everything_on_ctrl_c(project: Project) -> None:
    start = project.popen("start.sh", "--foreground")
    assert start.stdout is not None
    lines: list[str] = []
    for line in start.stdout:
        lines.append(line)
        if "Ctrl-C lo detiene" in line:
            break
    os.killpg(start.pid, signal.SIGINT)
    rest, _ = start.communicate(timeout=30)
    assert start.returncode == 0, "".join(lines) + rest
    assert "PostgreSQL: detenido." in rest
    assert project.living() == []


def test_a_foreground_that_was_suspended_forgets_no_newer_instance(project: Project) -> None:
    start = project.popen("start.sh", "--foreground")
    assert start.stdout is not None
    assert any("Ctrl-C lo detiene" in line for line in start.stdout)
    os.kill(start.pid, signal.SIGSTOP)
    try:
        project.run("stop.sh")
        project.run("start.sh")
    finally:
        os.kill(start.pid, signal.SIGCONT)
    start.communicate(timeout=30)
    assert "ya está en marcha y sano" in project.run("start.sh")
    assert (project.home / "http.port").exists()


def test_an_interrupted_start_leaves_nothing_running(project: Project) -> None:
    start = project.popen("start.sh")
    assert start.stdout is not None
    assert any("PostgreSQL: en marcha." in line for line in start.stdout)
    os.killpg(start.pid, signal.SIGTERM)
    start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGTERM
    assert project.living() == []


def test_a_start_killed_while_it_makes_the_databases(project: Project) -> None:
    start = project.popen("start.sh")
    half_made = project.home / "data" / "postgres.new" / "PG_VERSION"
    assert wait_until(half_made.exists, 30)
    os.killpg(start.pid, signal.SIGKILL)
    start.communicate(timeout=30)
    assert not (project.home / "data" / "postgres" / "PG_VERSION").exists()

    assert "en marcha y sano" in project.run("start.sh")


@pytest.mark.parametrize("first", ["ctrl-c", "failure"])
def test_more_signals_while_a_start_is_undone_leave_nothing_running(
    short_root: Path, first: str
) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text(_STUBBORN)
    host = folder / "src/launcher/host.py"
    change(host, "(signal.SIGTERM, 10.0)", "(signal.SIGTERM, 3.0)")
    change(host, "HEALTHY_SECONDS = 60.0", f"HEALTHY_SECONDS = {60 if first == 'ctrl-c' else 2}")
    project = Project(short_root / "h", folder)
    start = project.popen("start.sh")
    assert wait_until((project.home / "up").exists, 30)
    if first == "ctrl-c":
        os.killpg(start.pid, signal.SIGINT)
    assert wait_until((project.home / "heard").exists, 10)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.killpg(start.pid, number)
    told, _ = start.communicate(timeout=30)
    assert start.returncode == (130 if first == "ctrl-c" else 1), told
    assert project.living() == []


def test_a_host_that_was_never_launched_can_be_ended(tmp_path: Path) -> None:
    instance = Home(tmp_path).instance("corec1")
    Host(instance, Endpoint.of({}), {}, {}).end()


def test_nohup_is_obeyed(project: Project) -> None:
    """Who closes the terminal under `nohup start.sh --foreground` does not end it."""
    project.prefix = ("nohup",)
    start = project.popen("start.sh", "--foreground")
    assert start.stdout is not None
    assert any("Ctrl-C lo detiene" in line for line in start.stdout)
    os.killpg(start.pid, signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        start.wait(timeout=2)
    assert start_mark(project.host.pid) is not None
    os.killpg(start.pid, signal.SIGTERM)
    start.communicate(timeout=30)
    assert project.living() == []


_HELD = """
import os, signal
from src.launcher.signals import Undo, uninterrupted, unwind_on_signals
unwind_on_signals()
try:
    with Undo() as undo:
        with uninterrupted():
            os.kill(os.getpid(), signal.{name})
            undo.callback(print, "undone")
            os.kill(os.getpid(), signal.SIGINT)
            print("remembered")
        print("not reached")
except BaseException as fault:
    print(type(fault).__name__)
"""


@pytest.mark.parametrize(
    ("name", "fault"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "SystemExit")]
)
def test_a_signal_waits_until_what_was_started_is_remembered(name: str, fault: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _HELD.format(name=name)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["remembered", "undone", fault]
