"""The databases of the project, and the roles that work in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.launcher.home import PROJECT


@dataclass(frozen=True)
class DatabaseSpec:
    """A database of the project.

    Attributes:
        name: the database.
        owner: of its tables on the embedded server; makes them, and runs nothing.
        users: the roles that CoreC works as, by the environment variable with their address.
        variable: the one of these that replaces the database.
        folder: has schema.sql, its tables, and roles.sql, what those roles may.
    """

    name: str
    owner: str
    users: Mapping[str, str]
    variable: str
    folder: Path

    @property
    def schema(self) -> Path:
        """The file with its tables."""
        return self.folder / "schema.sql"

    @property
    def roles(self) -> Path:
        """The file with what its users may."""
        return self.folder / "roles.sql"


_CONFIGS = PROJECT / "configs"
DATABASES = (
    DatabaseSpec(
        "corec_db",
        "corec_user",
        {"COREC_DB_DSN": "corec_host", "ALERT_COREC_DB_DSN": "alert_reader"},
        "COREC_DB_DSN",
        _CONFIGS / "core",
    ),
    DatabaseSpec(
        "alert_db",
        "alert_user",
        {"ALERT_DB_DSN": "alert_manager_app"},
        "ALERT_DB_DSN",
        _CONFIGS / "plugins" / "alert_manager",
    ),
)
