"""Where things are: the project around the plugin, its files, and the folder of the state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent
ROOT = PLUGIN.parents[2]
"""The project, where there is one around the plugin."""
_CONFIGS = ROOT / "configs" / "plugins" / "alert_manager"
_DEFAULTS = PLUGIN / "defaults"  # copies, so that this folder alone is enough elsewhere


def shipped(name: str) -> Path:
    """Returns a file of `configs/plugins/alert_manager`, or its copy where that is not there."""
    path = _CONFIGS / name
    return path if path.exists() else _DEFAULTS / name


def home(environ: Mapping[str, str]) -> Path:
    """Returns the folder of the state: COREC_HOME; else `.corec` in the project.

    Where the plugin is installed as a package, there is no project: in the working folder.
    """
    if named := environ.get("COREC_HOME"):
        return Path(named)
    return (ROOT if (ROOT / "scripts").is_dir() else Path.cwd()) / ".corec"
