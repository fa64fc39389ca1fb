"""Every command that the documents print works as printed, in the order in which they come."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.launcher.project import PROJECT, Project, clean_environ, copy_project
from tests.support.servers import guarded_directory

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DOCUMENTS = [
    PROJECT / "README.md",
    PROJECT / "README.en.md",
    *sorted((PROJECT / "docs").glob("*.md")),
    PROJECT / "src" / "plugins" / "alert_manager" / "README.md",
]
# What is not run here, and where it is proven instead.
ELSEWHERE = {
    "./scripts/test.sh": "this very run",
    ".venv/bin/python -m benchmarks": "minutes long; their short forms are tests",
    "export ": "values of a family: test_delivery.py, test_settings.py",
    "sudo ": "asks for root; the files are held against promtool in test_prometheus.py",
    "promtool check config /etc/": "likewise",
    "git pull": "there is no remote here",
    "COREC_HOST_PASSWORD=": "test_roles.py runs both files",
    "ALERT_APP_PASSWORD=": "likewise",
    "./scripts/start.sh --docker": "test_docker_run.py",
    "docker ": "test_docker_run.py",
    "./scripts/test.sh -m docker": "likewise",
}
MOVES = ("./scripts/start.sh", "./scripts/stop.sh")


def commands() -> list[str]:
    """The lines of all blocks of shell, without what only explains them.

    Each once, but starts and stops, which lead from one to the other.
    """
    found: list[str] = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for line in "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).splitlines():
            command = re.sub(r"\s+# .*", "", line).strip()
            if command and (command not in found or command.startswith(MOVES)):
                found.append(command)
    return found


def is_run_here(command: str) -> bool:
    return not command.startswith((*ELSEWHERE, "#"))


def test_every_command_is_known() -> None:
    known = ("./scripts/", "curl ")
    assert [c for c in commands() if is_run_here(c) and not c.startswith(known)] == []


def test_both_languages_show_the_same_commands() -> None:
    for spanish in DOCUMENTS:
        english = spanish.with_name(f"{spanish.stem}.en.md")
        if english.exists():
            shown = [
                re.findall(r"^(?:\./scripts/|curl )\S+(?: \S+)?", text, re.MULTILINE)
                for text in (d.read_text(encoding="utf-8") for d in (spanish, english))
            ]
            assert shown[0] == shown[1], spanish.name


@pytest.fixture
def started() -> Iterator[Project]:
    """A project whose home is where the documents say, started."""
    with guarded_directory() as root:
        folder = copy_project(root / "c", venv=True)
        (folder / "nuevo.yaml").symlink_to(
            folder / "configs" / "plugins" / "alert_manager" / "alert_manager.yaml"
        )
        project = Project(folder / ".corec", folder)
        try:
            project.run("start.sh")
            yield project
        finally:
            project.run("stop.sh")
            assert project.living() == []


def test_every_command_works_as_printed(started: Project) -> None:
    environ = {**clean_environ(), **started.environ, "COREC_HTTP_PORT": "0"}
    environ.pop("COREC_HOME", None)  # as for a newcomer
    bash = shutil.which("bash")
    assert bash is not None
    for command in filter(is_run_here, commands()):
        done = subprocess.run(
            [bash, "-c", f"set -e\n{command}"],
            cwd=started.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    written = (started.folder / "alertas.csv").read_text(encoding="utf-8").splitlines()
    assert written[0] == "id,severity,message,channel,timestamp"
    assert len(written) >= 6


def _anchors(document: str) -> set[str]:
    """The names under which a page's headings can be linked to, as GitHub and GitLab make them."""
    text = re.sub(r"```.*?```", "", document, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    broken = []
    for document in DOCUMENTS:
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            if path.startswith("https:"):
                continue
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (
                anchor and anchor not in _anchors(target.read_text(encoding="utf-8"))
            ):
                broken.append(f"{document.name}: {link}")
    assert broken == []


def test_the_readmes_are_short() -> None:
    for readme in DOCUMENTS[:2]:
        assert len(readme.read_text(encoding="utf-8").splitlines()) <= 160, readme.name
