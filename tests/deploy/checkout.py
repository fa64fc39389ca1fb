"""A checkout on a machine whose docker does as it is told."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.compose_files import FILES
from tests.launcher.project import clean_environ, copy_project

SERVICES = ("redis", "postgres", "alert_db", "corec1")

# Writes down what it is called with, and answers as docker does where an answer is needed.
DOCKER = r"""#!/bin/sh
printf '%s\n' "$*" >>"$TOLD"
case "$*" in
  *" build "*) echo "pip no llega a nada" >&2 ;;
  *"config --services") printf '%s\n' $SERVICES ;;
  "compose version --short") echo "${VERSION:-2.30.3}" ;;
  "ps "*) [ -z "$RUNNING" ] || printf '%s\n' $RUNNING ;;
  exec* | *" run "*) cat >>"$TOLD.stdin" ;;
esac
case "$*" in $FAILING) exit 1 ;; esac
"""


@dataclass
class Checkout:
    """A copied project, a home, and a docker of the test's own."""

    root: Path
    environ: dict[str, str] = field(default_factory=clean_environ)

    def __post_init__(self) -> None:
        self.folder = copy_project(self.root / "mi proyecto", venv=False, more=FILES)
        self.home = self.root / "home"
        self.told = self.root / "told"
        program = self.root / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(DOCKER)
        program.chmod(0o755)
        self.environ |= {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "COREC_HOME": str(self.home),
            "TOLD": str(self.told),
            "SERVICES": " ".join(SERVICES),
            "FAILING": "-",
            # Nothing of the machine's Python is needed.
            "PYTHON": str(self.root / "nonexistent"),
        }

    def run(
        self, name: str, *arguments: str, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        self.told.write_text("")
        return subprocess.run(
            [self.folder / "scripts" / name, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.root,
            env=self.environ | environ,
            timeout=60,
            check=False,
        )

    def asked(self, part: str) -> list[str]:
        """What docker was asked that contains `part`."""
        return [line for line in self.told.read_text().splitlines() if part in line]
