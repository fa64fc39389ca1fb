"""The project in containers, as a person runs it: only ./scripts/test.sh -m docker comes here."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose_files import FILES
from tests.launcher.project import clean_environ, copy_project

LABEL = "label=com.docker.compose.project=corec_v4"
NO_INDEX = "COREC_TEST_PIP_NO_INDEX"
IMAGE = "corec_v4"


def _environ() -> dict[str, str]:
    """The environment of a machine without Python, and how the image gets its packages here."""
    environ = clean_environ() | {"PYTHON": "/nonexistent"}
    if no_index := os.environ.get(NO_INDEX):
        environ["PIP_NO_INDEX"] = no_index
    return environ


def docker(*arguments: str, stdin: str | None = None) -> str:
    """Run docker to its end, which must be good; what it printed."""
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/",  # no compose file of this checkout counts
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def need_engine() -> None:
    """Fail, not skip: whoever asks for these tests wants to know whether it works."""
    if shutil.which("docker") is None:
        pytest.fail("docker is not installed: apt-get install docker.io, and compose 2.24 or newer")
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"{' '.join(command)} fails; start the engine (dockerd): {done.stderr}")
    for kind in (["ps", "-aq"], ["volume", "ls", "-q"]):
        if found := docker(*kind, "--filter", LABEL).split():
            pytest.fail(
                f"the project corec_v4 is in use here ({', '.join(found)}), and the tests would "
                "delete its data: run them on another machine, or remove it first"
            )


@dataclass
class Stack:
    """A checkout that runs in containers.

    Attributes:
        folder: the checkout.
    """

    folder: Path

    @classmethod
    def copied(cls, folder: Path) -> Stack:
        """A fresh checkout without an .env."""
        return cls(copy_project(folder, venv=False, more=FILES))

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts; there is no Python that it could use."""
        return subprocess.run(
            [self.folder / "scripts" / name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=_environ(),
            timeout=600,
            check=False,
        )

    def run(self, name: str, *arguments: str) -> str:
        """Run a script that must succeed; what it printed."""
        done = self.script(name, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, text: str) -> str:
        """Run shell text as if it was pasted in the checkout's folder."""
        done = subprocess.run(
            ["bash", "-ec", text],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=_environ(),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add_env(self, line: str) -> None:
        """Write a line at the end of .env."""
        with (self.folder / ".env").open("a") as env:
            env.write(f"{line}\n")

    def drop_env(self, prefix: str) -> None:
        """Take the lines that begin so out of .env; the whole file where none is left."""
        env = self.folder / ".env"
        kept = [line for line in env.read_text().splitlines() if not line.startswith(prefix)]
        if kept:
            env.write_text("\n".join([*kept, ""]))
        else:
            env.unlink()

    def secrets(self) -> set[str]:
        """The passwords of .env."""
        lines = (self.folder / ".env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines)
        return {value for name, _, value in pairs if name.endswith("PASSWORD") and value}

    def alerts(self) -> list[dict[str, Any]]:
        """What the command line lists, the oldest first."""
        found = json.loads(self.run("alerts.sh", "list", "--json", "--limit", "100"))
        return list(reversed(found))

    def write(self, datos: str, canal: str = "alertas") -> None:
        """Put an event into eventos."""
        sql = (
            "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
            f" VALUES ('{canal}', '{datos}', EXTRACT(EPOCH FROM NOW()), 'test');"
        )
        self.run("psql.sh", "corec_db", "-c", sql)


def inspected(name: str) -> dict[str, Any]:
    """What docker inspect says of a container."""
    [found] = json.loads(docker("inspect", name))
    assert isinstance(found, dict)
    return found


def logs(name: str) -> list[str]:
    """The lines that a container wrote."""
    done = subprocess.run(
        ["docker", "logs", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def container(service: str) -> str:
    """The name of a service's container."""
    return f"corec_v4-{service}-1"


def health(service: str) -> str:
    """What docker thinks of a service."""
    return str(inspected(container(service))["State"]["Health"]["Status"])


def told_of(title: str, service: str = "corec1") -> int:
    """How many lines an instance wrote of the alerts with this title."""
    lines = logs(container(service))
    return sum(" ALERTA " in line and title in line for line in lines)


def eventually(holds: Callable[[], object], seconds: float) -> float:
    """Wait until something holds; how long it took, in seconds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.2)  # nothing outside of a container can wait for a signal in it
    return time.monotonic() - started


def in_terminal(command: str) -> str:
    """Run shell text on a terminal, with a person who turns psql's pages; what it showed."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 10_000, 0, 0))
    with ExitStack() as undo:
        process = undo.enter_context(
            subprocess.Popen(
                ["bash", "-c", command],
                stdin=side,
                stdout=side,
                stderr=side,
                env=_environ(),
                start_new_session=True,
            )
        )
        undo.callback(process.kill)  # before it is waited for, whatever happens
        os.close(side)
        shown = b""
        while True:
            # docker tells the terminal's size a moment late, and psql may page by then.
            if not select.select([main], [], [], 1.0)[0]:
                os.write(main, b"q" if b"(END)" in shown[-40:] else b" ")
                continue
            try:
                part = os.read(main, 65_536)
            except OSError:  # the terminal is closed
                break
            if not part:
                break
            shown += part
        os.close(main)
        text = shown.decode()
        assert process.wait(60) == 0, text
    return text
