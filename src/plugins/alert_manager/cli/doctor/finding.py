"""What the doctor finds."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """How a part is."""

    GOOD = "bien"
    WARNING = "aviso"  # it works, if less well or not for long
    FAULT = "fallo"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part.

    Attributes:
        said: what was found, and what was expected; no secrets.
        mend: what to do; empty where there is nothing to.
    """

    part: str
    state: State
    said: str
    mend: str = ""


def good(part: str, said: str) -> Finding:
    """Returns that a part is well."""
    return Finding(part, State.GOOD, said)


def warning(part: str, said: str, mend: str) -> Finding:
    """Returns that a part may give trouble."""
    return Finding(part, State.WARNING, said, mend)


def fault(part: str, said: str, mend: str) -> Finding:
    """Returns that a part does not work."""
    return Finding(part, State.FAULT, said, mend)
