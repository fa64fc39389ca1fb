"""Hosts that tests and benchmarks start do not outlive them."""

from __future__ import annotations

import subprocess
import sys

from src.launcher.processes import ProcessId, wait_until
from tests.plugins.conftest import PROJECT

_STARTER = """
import subprocess, time
from tests.plugins.hosts import ended_with_us

process = subprocess.Popen(["sleep", "60"])
with ended_with_us(process):
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_who_is_killed_leaves_no_host_behind() -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout is not None
        host = ProcessId.of(int(starter.stdout.readline()))
        assert host is not None
        starter.kill()
    assert wait_until(lambda: not host.alive(), 20.0)


def test_a_guard_is_gone_with_its_process() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _STARTER.replace("time.sleep(60)", "process.kill()")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert found.stdout.strip().isdecimal()
    assert not found.stderr
