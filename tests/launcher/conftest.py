"""Homes of the tests' own, stopped and deleted at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.project import PROJECT, Project
from tests.support.servers import guarded_directory


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    """Let start.sh find .venv ready, as after ./scripts/test.sh: some tests may not write there."""
    subprocess.run([sys.executable, PROJECT / "scripts" / "prepare_venv.py", "run"], check=True)


@pytest.fixture
def short_root() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with guarded_directory() as root:
        yield root


@pytest.fixture
def project(short_root: Path) -> Iterator[Project]:
    """This project with an empty home; nothing of it may outlive its stop."""
    project = Project(short_root / "h")
    yield project
    project.run("stop.sh")
    assert project.living() == []
