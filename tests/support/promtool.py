"""promtool and Prometheus, from Debian's package `prometheus`: they are not on PyPI.

COREC_TEST_PROMTOOL names promtool; else it comes from PATH; else the package is fetched into .venv,
without root and without changing the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROMTOOL_ENV = "COREC_TEST_PROMTOOL"
PACKAGE = "prometheus"
_SECONDS = 90.0  # for one call of apt
_HELP = (
    "promtool is needed by these tests, and comes with Debian's package prometheus: "
    f"sudo apt install {PACKAGE}, or name it in {PROMTOOL_ENV}"
)


class PromtoolMissingError(Exception):
    """It is not there, and could not be fetched; says what to install."""


def find_promtool(cache: Path) -> Path:
    """Returns promtool; `prometheus` lies beside it where it was fetched.

    Args:
        cache: a folder that is kept from one run to the next.

    Raises:
        PromtoolMissingError: it is nowhere to be had.
    """
    named = os.environ.get(PROMTOOL_ENV)
    if named:
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise PromtoolMissingError(f"{PROMTOOL_ENV}: {named!r} is no program; {_HELP}")
        return path
    if found := shutil.which("promtool"):
        return Path(found)
    fetched = cache / "promtool"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this run may fetch it
        if not fetched.exists():
            _fetch(cache)
    return fetched


def run(promtool: Path, *arguments: str | Path, stdin: bytes | None = None) -> str:
    """Runs promtool, which must find nothing wrong; returns what it says."""
    done = subprocess.run(
        [promtool, *arguments], input=stdin, capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def _fetch(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        # By the lists that the machine has; where those are missing or old, by new ones of our own.
        downloaded = _apt(folder, ["download", PACKAGE]) is None
        if not downloaded:
            own = _own_lists(folder)
            trouble = _apt(folder, [*own, "update"]) or _apt(folder, [*own, "download", PACKAGE])
            if trouble is not None:
                raise PromtoolMissingError(f"{_HELP}. apt-get: {trouble}")
        [package] = folder.glob(f"{PACKAGE}_*.deb")
        unpacked = folder / "unpacked"
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True, timeout=_SECONDS)
        for name in ("prometheus", "promtool"):  # promtool last: it says that both are there
            (unpacked / "usr" / "bin" / name).replace(cache / name)


def _own_lists(folder: Path) -> list[str]:
    """Options by which apt-get keeps its lists here; no root is needed for that."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    return [
        *("-o", f"Dir::State::Lists={folder}/lists"),
        *("-o", f"Dir::Cache={folder}"),
        *("-o", "APT::Sandbox::User="),
    ]


def _apt(folder: Path, arguments: Sequence[str]) -> str | None:
    """Runs apt-get in a folder; returns what went wrong, or None."""
    options = ("-q", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20")
    try:
        done = subprocess.run(
            ["apt-get", *options, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "this machine has none"
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS:g} s"
    lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return None if done.returncode == 0 else (lines or ["it failed"])[0]
