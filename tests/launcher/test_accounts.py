"""Who runs PostgreSQL: a normal user, root, and root in a container with fewer rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

from tests.launcher.project import Project, copy_project

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can try other accounts"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)"),
]

_FEWER_RIGHTS = ("setpriv", "--bounding-set=-dac_read_search", "--inh-caps=-dac_read_search", "--")


def _nobody() -> tuple[str, ...]:
    entry = pwd.getpwnam("nobody")
    who = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
    return ("setpriv", *who, "--")


_PROBE = """
import os, sys
sys.exit(not all(os.access(path, os.R_OK | os.X_OK) for path in sys.argv[1:]))
"""


def _open_python() -> str:
    """A Python of this version that other accounts can run, as they can read our packages."""
    packages = sysconfig.get_path("purelib")
    name = f"python3.{sys.version_info[1]}"
    base = str(getattr(sys, "_base_executable", sys.executable))
    for python in (base, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        command = [*_nobody(), python, "-I", "-c", _PROBE, os.path.realpath(python), packages]
        if subprocess.run(command, check=False, cwd="/", capture_output=True).returncode == 0:
            return python
    pytest.skip("no Python, or not this checkout, is where other accounts can pass")


@pytest.fixture
def open_folder(short_root: Path) -> Path:
    """A project that other accounts can use, with our packages."""
    python = _open_python()
    short_root.chmod(0o711)
    folder = copy_project(short_root / "p", venv=False)
    subprocess.run([python, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (packages,) = (folder / ".venv").glob("lib/python3.*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    prepare = folder / "scripts" / "prepare_venv.py"
    subprocess.run([python, "-I", prepare, "run"], check=True, capture_output=True)
    return folder


_READ_EVERYTHING = 1 << 2  # CAP_DAC_READ_SEARCH


def _may_read_everything(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (effective,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective.split()[1], 16) & _READ_EVERYTHING)


def test_a_normal_user(open_folder: Path, short_root: Path) -> None:
    home = short_root / "h"
    home.mkdir(mode=0o700)
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    project = Project(home, open_folder, prefix=_nobody())
    try:
        project.run("start.sh")
        assert project.postmaster.username() == "nobody"
        assert project.sql("corec_db", "SELECT current_user") == "corec_user"
        # Not even root gets in with a role's name: it is not the user who started the server.
        stranger = Project(home, open_folder).script("psql.sh", "corec_db", "-c", "SELECT 1")
        assert stranger.returncode != 0
        assert "authentication failed" in stranger.stderr
    finally:
        project.run("stop.sh")
    assert project.living() == []
    assert (home / "data").stat().st_mode & 0o077 == 0


def test_a_home_of_somebody_else_is_refused(open_folder: Path, short_root: Path) -> None:
    home = short_root / "h"
    home.mkdir(mode=0o711)
    result = Project(home, open_folder, prefix=_nobody()).script("start.sh")
    assert result.returncode == 1
    assert "es del usuario «root»" in result.stderr


def test_root_runs_the_server_as_nobody_in_a_private_folder(project: Project) -> None:
    project.home.parent.chmod(0o700)
    project.run("start.sh")
    assert project.postmaster.username() == "nobody"
    assert _may_read_everything(project.postmaster)  # there is no other way into the folder


def test_root_gives_the_server_no_right_that_it_does_not_need(
    open_folder: Path, short_root: Path
) -> None:
    project = Project(short_root / "h", open_folder)
    try:
        project.run("start.sh")
        assert project.postmaster.username() == "nobody"
        assert not _may_read_everything(project.postmaster)
    finally:
        project.run("stop.sh")


def test_root_with_fewer_rights_in_an_open_folder(open_folder: Path, short_root: Path) -> None:
    project = Project(short_root / "h", open_folder, prefix=_FEWER_RIGHTS)
    try:
        project.run("start.sh")
        assert project.postmaster.username() == "nobody"
        assert project.sql("alert_db", "SELECT current_user") == "alert_user"
    finally:
        project.run("stop.sh")
    assert project.living() == []


def test_root_with_fewer_rights_in_a_private_folder_is_told(short_root: Path) -> None:
    short_root.chmod(0o700)
    project = Project(short_root / "h", prefix=_FEWER_RIGHTS)
    result = project.script("start.sh")
    assert result.returncode == 1
    assert "carpeta por la que todos puedan pasar" in result.stderr
    assert project.living() == []
