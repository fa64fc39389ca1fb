"""What a host may push to a plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event on its way to a plugin.

    Attributes:
        canal: the channel.
        datos: the decoded payload, or `{"data": <compressed bytes>}`.
        destino: the plugin or entity it is meant for.
    """

    canal: str
    datos: dict[str, Any]
    destino: str = ""
