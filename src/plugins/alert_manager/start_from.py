"""Where a first start begins to read: `beginning`, `now`, a duration ago, or a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from .durations import parse_duration


@dataclass(frozen=True, slots=True)
class StartFrom:
    """Exactly one of the three says where.

    Attributes:
        beginning: from the first row.
        ago: seconds before now; 0 is now.
        since: seconds since the epoch.
    """

    beginning: bool = False
    ago: float | None = None
    since: float | None = None

    def threshold(self, now: float) -> float | None:
        """Returns the event time from which rows are read, or None for all of them."""
        if self.beginning:
            return None
        return self.since if self.ago is None else now - self.ago


def parse_start_from(text: str, zone: tzinfo = UTC) -> StartFrom:
    """Reads the setting; `zone` is that of a time without one.

    Raises:
        ValueError: says what is allowed.
    """
    if text == "beginning":
        return StartFrom(beginning=True)
    if text == "now":
        return StartFrom(ago=0.0)
    try:
        return StartFrom(ago=parse_duration(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"se encontró {text!r}; se permite: beginning, now, una duración como 1h, "
            "o una hora ISO como 2026-11-23T08:00:00-06:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return StartFrom(since=moment.timestamp())
