"""`python main.py` as a process of its own, as start.sh runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.plugins.conftest import PROJECT, World


@contextmanager
def ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Sees to it that a process ends with this one, also by kill -9: a pipe closes then."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", 'cat >/dev/null; kill -KILL "$1" 2>/dev/null', "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


@contextmanager
def host(
    world: World,
    home: Path,
    instance: str = "corec1",
    environment: Mapping[str, str] | None = None,
    command: Sequence[str | Path] = (sys.executable, "main.py"),
    folder: Path = PROJECT,
) -> Iterator[subprocess.Popen[bytes]]:
    """A running host, stopped at the end; `environment` is added to its own."""
    home.mkdir(parents=True, exist_ok=True)
    variables = {
        **os.environ,
        "COREC_DB_DSN": world.corec_dsn,
        "ALERT_DB_DSN": world.alert_dsn,
        "REDIS_URL": world.redis_url,
        "INSTANCE_ID": instance,
        "COREC_HOME": str(home),
        "COREC_HTTP_PORT": "0",
        **(environment or {}),
    }
    with (home / "out").open("ab") as out:
        process = subprocess.Popen([*command], cwd=folder, env=variables, stdout=out, stderr=out)
    try:
        with ended_with_us(process):
            yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def health(home: Path) -> tuple[int, dict[str, object]]:
    try:
        port = (home / "http.port").read_text(encoding="utf-8").strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=6) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}
