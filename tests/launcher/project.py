"""The project as a person uses it: its scripts, run on a home of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
_COPIED = (
    *("configs", "scripts", "src", "main.py", "constraints.txt"),
    *("requirements.txt", "requirements-embedded.txt", "requirements-test.txt"),
)
_OWN = ("COREC_", "ALERT_", "PG", "REDIS_URL", "INSTANCE_ID", "PYTHONPATH")


def clean_environ() -> dict[str, str]:
    """The environment without what would lead a script to somebody else's servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}


def copy_project(folder: Path, *, venv: bool, more: Sequence[str] = ()) -> Path:
    """Copy what a clone holds; with `venv`, the installed packages are those of this project.

    Args:
        folder: where to; made here.
        venv: whether the packages come with it.
        more: files and folders that only some tests need.
    """
    folder.mkdir(parents=True)
    for name in (*_COPIED, *more):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    if venv:
        (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


def change(path: Path, old: str, new: str) -> None:
    """Change one place of a copied project's file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass
class Project:
    """A project folder with a home.

    Attributes:
        home: COREC_HOME.
        folder: where the scripts are.
        environ: the environment of every script.
        prefix: what goes before every command, such as a change of the user.
    """

    home: Path
    folder: Path = PROJECT
    environ: dict[str, str] = field(default_factory=clean_environ)
    prefix: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.environ |= {"COREC_HOME": str(self.home), "COREC_HTTP_PORT": "0"}

    def command(self, name: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.folder / "scripts" / name), *arguments]

    def script(
        self, name: str, *arguments: str, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end, from a working directory that is not the project's."""
        return subprocess.run(
            self.command(name, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            env=self.environ | (environ or {}),
            timeout=90,
            check=False,
        )

    def run(self, name: str, *arguments: str, environ: dict[str, str] | None = None) -> str:
        """Run a script that must succeed; what it printed."""
        result = self.script(name, *arguments, environ=environ)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def popen(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a script in a process group of its own, with its output in a pipe."""
        return subprocess.Popen(
            self.command(name, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=self.environ,
            start_new_session=True,
        )

    def sql(self, database: str, sql: str) -> str:
        """The bare rows of a statement, through psql.sh."""
        return self.run("psql.sh", database, "-XAtc", sql).strip()

    @property
    def postmaster(self) -> psutil.Process:
        """PostgreSQL's first process."""
        lock = self.home / "data" / "postgres" / "postmaster.pid"
        return psutil.Process(int(lock.read_text().splitlines()[0]))

    @property
    def redis(self) -> psutil.Process:
        """Redis' process."""
        return self._remembered("redis.json")

    @property
    def host(self) -> psutil.Process:
        """The process of main.py."""
        return self._remembered("instances/corec1.json")

    def _remembered(self, name: str) -> psutil.Process:
        return psutil.Process(json.loads((self.home / "run" / name).read_text())["pid"])

    def living(self) -> list[str]:
        """The command lines of every process that works for this home."""
        return [line for process in psutil.process_iter() if (line := self.owns(process))]

    def owns(self, process: psutil.Process) -> str | None:
        """The command line of a living process of this home; None for any other process."""
        try:
            words = process.cmdline()
            ours = any(word.startswith(str(self.home)) for word in words)
            if ours or process.environ().get("COREC_HOME") == str(self.home):
                return " ".join(words) or None
        except psutil.Error:
            return None
        return None
