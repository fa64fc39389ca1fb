"""A start that fails says why, soon and once, and leaves nothing running."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.launcher.project import Project, change, copy_project

pytestmark = pytest.mark.e2e

SOON_SECONDS = 30  # half of what an answer of /health is waited for
_PROCESSOR = "src/plugins/alert_manager/processors/alert_processor.py"


def test_a_host_that_ends_at_once_is_shown_and_undone(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text("raise SystemExit('no quiero arrancar')\n")
    project = Project(short_root / "h", folder)
    began = time.monotonic()
    result = project.script("start.sh")
    assert time.monotonic() - began < SOON_SECONDS
    assert result.returncode == 1
    assert "terminó al arrancar (código 1)" in result.stderr
    assert "no quiero arrancar" in result.stderr
    assert project.living() == []


_SICK = """
import http.server, os, pathlib
class Sick(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"alert_db": "sin conexi\\\\u00f3n"}'
        self.send_response(503)
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Sick)
pathlib.Path(os.environ["COREC_HOME"], "http.port").write_text(str(server.server_port))
server.serve_forever()
"""


def test_a_sick_host_is_shown_and_undone(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text(_SICK)
    change(folder / "src/launcher/host.py", "HEALTHY_SECONDS = 60.0", "HEALTHY_SECONDS = 1.0")
    project = Project(short_root / "h", folder)
    result = project.script("start.sh")
    assert result.returncode == 1
    assert "503" in result.stderr
    assert '"alert_db": "sin conexión"' in result.stderr
    assert project.living() == []


_DEGRADED = _SICK.replace(
    '{"alert_db": "sin conexi\\\\u00f3n"}',
    '{"estado": "degradado", "partes": {"redis": {"ok": false, "detalle": "no responde"}}}',
)


def test_a_host_that_can_do_without_what_fails_is_started_with_a_warning(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "main.py").write_text(_DEGRADED)
    project = Project(short_root / "h", folder)
    try:
        began = time.monotonic()
        told = project.run("start.sh")
        assert time.monotonic() - began < SOON_SECONDS
        assert "en marcha y no del todo sano" in told
        assert "Aviso: redis: no responde" in told
        assert "ya está en marcha y no del todo sano" in project.run("start.sh")
    finally:
        project.run("stop.sh")
    assert project.living() == []


def test_a_fault_of_the_configuration_is_shown_once(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    change(
        folder / "configs/plugins/alert_manager/alert_manager.yaml",
        "\nnotification_channels:",
        "\ncanales_de_mas: 1\nnotification_channels:",
    )
    project = Project(short_root / "h", folder)
    result = project.script("start.sh")
    assert result.returncode == 1
    assert result.stderr.count("canales_de_mas: clave desconocida") == 1
    assert "alerts.sh check-config" in result.stderr
    assert "Traceback" not in result.stderr
    assert project.living() == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("\nimport asyncio\n", "\nimport no_existe\nimport asyncio\n", "no_existe"),
        ("class AlertProcessor(", "class Otra(", "AlertProcessor"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_told_soon(
    short_root: Path, old: str, new: str, why: str
) -> None:
    folder = copy_project(short_root / "p", venv=True)
    change(folder / _PROCESSOR, old, new)
    project = Project(short_root / "h", folder)
    began = time.monotonic()
    result = project.script("start.sh")
    assert time.monotonic() - began < SOON_SECONDS
    assert result.returncode == 1
    [first, *_] = result.stderr.splitlines()
    assert "alert_manager" in first
    assert why in first
    assert project.living() == []


def test_another_plugin_that_cannot_be_loaded_is_a_warning(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    (folder / "src/plugins/otro").mkdir()
    (folder / "src/plugins/otro/plugin.json").write_text("{")
    project = Project(short_root / "h", folder)
    try:
        assert "Aviso: el plugin otro no se carga: " in project.run("start.sh")
    finally:
        project.run("stop.sh")
    assert project.living() == []


def test_the_foreground_says_at_once_that_the_plugin_is_missing(short_root: Path) -> None:
    folder = copy_project(short_root / "p", venv=True)
    change(folder / _PROCESSOR, "class AlertProcessor(", "class Otra(")
    project = Project(short_root / "h", folder)
    with project.popen("start.sh", "--foreground") as start:
        assert start.stdout is not None
        began = time.monotonic()
        assert any("pero no su plugin alert_manager" in line for line in start.stdout)
        assert time.monotonic() - began < SOON_SECONDS
        start.terminate()
        start.communicate(timeout=30)
    assert project.living() == []
