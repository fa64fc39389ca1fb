"""Installed as a package, and as the plugin's folder alone in another CoreC v4 tree."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from src.plugins.alert_manager import home
from src.plugins.alert_manager.cli.main import main
from tests.plugins.conftest import PROJECT, SHIPPED_CONFIG, World, eventually
from tests.plugins.hosts import health, host
from tests.plugins.payloads import to_json

PLUGIN = PROJECT / "src" / "plugins" / "alert_manager"
SPEC = {
    "psycopg2-binary": "2.9.9",
    "zstandard": "0.22.0",
    "aiohttp": "3.9.5",
    "backoff": "2.2.1",
}


def pins(name: str) -> dict[str, str]:
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_versions_of_the_specification_are_those_that_are_tested() -> None:
    newest, spec = pins("constraints.txt"), pins("constraints-spec.txt")
    assert {name: spec[name] for name in SPEC} == SPEC
    others = newest.keys() - SPEC.keys() - {"multidict"}  # of which this aiohttp wants an older one
    assert newest.keys() == spec.keys()
    assert {name: newest[name] for name in others} == {name: spec[name] for name in others}


def test_the_copies_in_the_plugin_are_those_of_the_project() -> None:
    for name in ("alert_manager.yaml", "schema.sql"):
        copy, real = PLUGIN / "defaults" / name, SHIPPED_CONFIG.with_name(name)
        assert copy.read_bytes() == real.read_bytes(), f"cp {real} {copy}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build writes beside what it builds."""
    source = tmp_path_factory.mktemp("source") / "project"
    wanted = ("src", "configs", "main.py", "pyproject.toml", "README.md", "LICENSE")
    source.mkdir()
    for name in (*wanted, "requirements.txt", "requirements-embedded.txt", "requirements-plot.txt"):
        path = PROJECT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / name)
    target = source.parent / "wheels"
    build = ("--no-deps", "--no-build-isolation", "--no-index", "-w", str(target))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check")
    subprocess.run([*pip, *build, str(source)], check=True, cwd=source.parent)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    # The libraries are those of the tests, as the index is not asked.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "-q")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--force-reinstall")
    subprocess.run([*pip, *options, str(wheel)], check=True)
    return python.parent


def test_the_wheel_has_types_and_all_that_is_no_code(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        str(path.relative_to(PROJECT))
        for folder in (PROJECT / "src", PROJECT / "configs")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "src/py.typed" in wanted
    assert set(wanted) - names == set()


def test_the_command_line_is_a_command(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [str(installed / "corec-alerts"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert "Órdenes:" in run("--help")
    assert "válido" in run("check-config")


async def test_the_host_is_a_command(world: World, installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    with host(world, folder, command=[installed / "corec"], folder=tmp_path) as process:
        await eventually(lambda: health(folder)[0] == 200)
        world.write("macro_data", to_json({"vix_price": 45}))
        await eventually(lambda: len(world.alerts()) == 1)
    assert process.returncode == 0


async def test_the_folder_alone_works_in_another_tree(world: World, tmp_path: Path) -> None:
    """Without `configs/plugins`, the command line's scripts, or anything else of ours."""
    tree = tmp_path / "corec"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src/core", "src/utils", "configs/core"):
        shutil.copytree(PROJECT / name, tree / name, ignore=ignored)
    for name in (
        "main.py",
        "src/__init__.py",
        "src/plugins/__init__.py",
        "src/plugins/plugin_manager.py",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, tree / name)
    shutil.copytree(PLUGIN, tree / "src/plugins/alert_manager", ignore=ignored)
    folder = tmp_path / "h"
    with host(world, folder, folder=tree) as process:
        await eventually(lambda: health(folder)[0] == 200)
        world.write("macro_data", to_json({"vix_price": 45}))
        await eventually(lambda: len(world.alerts()) == 1)
    assert process.returncode == 0
    assert "se usa" in (folder / "out").read_text(encoding="utf-8")  # its own file, and it says so


def test_without_a_project_the_state_is_in_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert home.home({}) == PROJECT / ".corec"
    assert home.home({"COREC_HOME": "/x"}) == Path("/x")
    monkeypatch.setattr(home, "ROOT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert home.home({}) == tmp_path / ".corec"


def test_the_shipped_file_is_valid_by_its_copy() -> None:
    result = CliRunner().invoke(main, ["check-config", str(PLUGIN / "defaults/alert_manager.yaml")])
    assert result.exit_code == 0
