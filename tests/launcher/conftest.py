"""Homes of the tests' own, stopped and deleted at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.project import Project
from tests.support.servers import guarded_directory


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
