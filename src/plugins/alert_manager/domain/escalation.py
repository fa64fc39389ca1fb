"""Who else is told of critical alerts that nobody minds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the escalation: who is told, seconds after an alert that nobody acknowledged."""

    after: float
    channels: tuple[str, ...]
