"""start.sh before Python is known to work: crafted interpreters and a tiny project to install."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.launcher.processes import wait_until
from tests.launcher.project import PROJECT, clean_environ

_BASE = str(getattr(sys, "_base_executable", sys.executable))


def make_clone(folder: Path) -> Path:
    """A clone whose requirements are none and whose launcher is tiny."""
    shutil.copytree(PROJECT / "scripts", folder / "scripts")
    launcher = folder / "src" / "launcher"
    launcher.mkdir(parents=True)
    (launcher / "__main__.py").write_text("import sys; print('launched', sys.argv[1:])\n")
    for name in ("requirements.txt", "requirements-embedded.txt", "requirements-test.txt"):
        (folder / name).write_text("")
    (folder / "constraints.txt").write_text("")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone with a blank in its path."""
    return make_clone(tmp_path / "mi proyecto")


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after its first start, to be copied: making a venv takes seconds."""
    folder = make_clone(tmp_path_factory.mktemp("first") / "clone")
    result = start(folder, "--foreground")
    assert result.returncode == 0, result.stderr
    assert "Instalo lo necesario" in result.stdout
    assert "launched ['start', '--foreground']" in result.stdout
    return folder


@pytest.fixture
def installed(first_start: Path, tmp_path: Path) -> Path:
    """A clone of the test's own that was started before."""
    return Path(shutil.copytree(first_start, tmp_path / "mi proyecto", symlinks=True))


def program(folder: Path, name: str, body: str) -> Path:
    """An executable shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def python_without(folder: Path, module: str) -> Path:
    """A real Python in which one module can't be imported."""
    code = (
        f"import sys, runpy; sys.modules['{module}'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    body = (
        f'if [ "$1" = -c ]; then exec "{_BASE}" "$@"; fi\nshift\nexec "{_BASE}" -I -c "{code}" "$@"'
    )
    return program(folder, "python3", body)


def start(clone: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "start.sh", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env=clean_environ() | {"PYTHON": _BASE} | environ,
        timeout=110,
        check=False,
    )


def only(folder: Path) -> str:
    """A PATH that holds this folder and what scripts need, but no Python of the machine."""
    folder.mkdir(exist_ok=True)
    for name in ("bash", "dirname", "readlink"):
        found = shutil.which(name)
        assert found is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(found)
    return str(folder)


def test_an_old_python_is_named(clone: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin", "python3", "echo 3.8")
    result = start(clone, PYTHON="", PATH=only(tmp_path / "bin"))
    assert result.returncode == 1
    assert "Python 3.8" in result.stderr
    assert "3.11" in result.stderr
    assert str(tmp_path / "bin" / "python3") in result.stderr
    assert not (clone / ".venv").exists()


def test_no_python_at_all(clone: Path, tmp_path: Path) -> None:
    result = start(clone, PYTHON="", PATH=only(tmp_path / "bin"))
    assert result.returncode == 1
    assert "No se encuentra Python" in result.stderr


def test_a_broken_python_is_passed_over(clone: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin", "python3.14", "exit 127")
    good = program(tmp_path / "bin", "python3", f'exec "{_BASE}" "$@"')
    found = subprocess.run(
        ["/bin/bash", "-c", 'PROJECT="$1"; . "$1/scripts/lib.sh"; find_python', "bash", clone],
        env={"PATH": only(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(good)


def test_a_python_that_the_user_names_is_the_only_one_tried(clone: Path, tmp_path: Path) -> None:
    old = program(tmp_path / "bin", "python", "echo 3.10")
    assert "Python 3.10" in start(clone, PYTHON=str(old)).stderr
    assert "no se puede ejecutar" in start(clone, PYTHON=str(tmp_path / "absent")).stderr


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv(clone: Path, tmp_path: Path, module: str) -> None:
    result = start(clone, PYTHON=str(python_without(tmp_path / "bin", module)))
    assert result.returncode == 1
    assert f"falta el módulo {module}" in result.stderr
    assert "sudo apt install python3" in result.stderr


@pytest.mark.parametrize("retries", ["0", "1"])
def test_no_network_is_told_with_the_log(installed: Path, retries: str) -> None:
    (installed / "requirements.txt").write_text("corec-no-such-package\n")
    offline = {
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_RETRIES": retries,
        "PIP_FIND_LINKS": "",
        "PIP_NO_INDEX": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    result = start(installed, **offline)
    assert result.returncode == 1
    assert "conexión a internet" in result.stderr
    log = installed / ".venv" / "install.log"
    assert str(log) in result.stderr
    assert "corec-no-such-package" in log.read_text()

    (installed / "requirements.txt").write_text("")
    assert "launched" in start(installed).stdout


def test_a_second_start_installs_nothing(installed: Path) -> None:
    assert start(installed).stdout == "launched ['start']\n"

    before = (installed / "constraints.txt").read_text()
    (installed / "constraints.txt").write_text("# changed\n")
    assert "Instalo lo necesario" in start(installed).stdout
    assert start(installed).stdout == "launched ['start']\n"

    # What the tests' stamp said is no longer true: something else was installed meanwhile.
    stamps = installed / ".venv"
    (stamps / ".stamp-test").write_text((stamps / ".stamp-run").read_text())
    (installed / "constraints.txt").write_text(before)
    assert "Instalo lo necesario" in start(installed).stdout
    assert not (stamps / ".stamp-test").exists()


def test_a_start_killed_while_installing_is_mended(clone: Path) -> None:
    killed = subprocess.Popen(
        [clone / "scripts" / "start.sh"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environ() | {"PYTHON": _BASE},
        start_new_session=True,
    )
    mark = clone / ".venv" / ".installing"
    assert wait_until(mark.exists, 60)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert mark.exists()

    result = start(clone)
    assert result.returncode == 0, result.stderr
    assert "a medias" in result.stdout
    assert "launched ['start']" in result.stdout
    assert start(clone).stdout == "launched ['start']\n"


def test_a_venv_whose_python_is_gone_is_made_anew(installed: Path) -> None:
    for link in (installed / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nonexistent/python")
    result = start(installed)
    assert result.returncode == 0, result.stderr
    assert "ya no sirve" in result.stdout


def test_a_folder_that_is_no_venv_is_not_deleted(clone: Path) -> None:
    treasure = clone / ".venv" / "treasure"
    treasure.parent.mkdir()
    treasure.write_text("mine")
    result = start(clone)
    assert result.returncode == 1
    assert "no es un entorno de Python" in result.stderr
    assert treasure.read_text() == "mine"


def test_two_installations_at_once_take_turns(clone: Path) -> None:
    starts = [
        subprocess.Popen(
            [clone / "scripts" / "start.sh"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environ() | {"PYTHON": _BASE},
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=110)[0] for process in starts]
    assert [process.returncode for process in starts] == [0, 0], told
    assert sum("Instalo lo necesario" in text for text in told) == 1, told
    assert all("launched ['start']" in text for text in told)


def test_a_docker_that_is_away_does_not_keep_the_rest_from_stopping(
    installed: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    (home / "docker").touch()
    program(tmp_path / "bin", "docker", '[ "$1" != info ]')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environ = clean_environ() | {"PATH": path, "COREC_HOME": str(home)}
    stopped = subprocess.run(
        [installed / "scripts" / "stop.sh"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "launched ['stop']" in stopped.stdout
    assert (stopped.returncode, "motor de docker no responde" in stopped.stderr) == (1, True)
    assert (home / "docker").exists()
