"""How alert_manager.yaml says when an event has to come."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from .domain.absence import Awaited
from .domain.time_intervals import parse_clock
from .durations import Seconds
from .interval_settings import ActiveSettings

DAY = 86400.0
LONGEST = 31 * DAY
_MOST_WEEKS = 53


ClockTime = Annotated[str, AfterValidator(lambda text: parse_clock(text) is not None and text)]
"""A time of day such as `08:30`."""


def awaited(
    every: Seconds | None,
    by: str | None,
    within: Seconds | None,
    active: ActiveSettings | None,
    zone: str,
) -> Awaited | None:
    """Returns when an event has to come; None where neither `every` nor `by` says so."""
    if every is None and by is None:
        return None
    return Awaited(
        intervals=(active or ActiveSettings()).intervals(zone),
        every=every,
        by=None if by is None else parse_clock(by),
        within=within,
    )


def absence_fault(
    every: float | None, by: str | None, within: float | None, active: ActiveSettings | None
) -> str | None:
    """Says which of the keys cannot stand together, or None."""
    if every is not None and by is not None:
        return "se espera absent_for o absent_by, no los dos"
    if every is None and by is None:
        if within is not None or active is not None:
            return "absent_within y active solo valen junto a absent_for o absent_by"
        return None
    if by is None and within is not None:
        return "absent_within solo vale junto a absent_by"
    if by is not None and active is not None and active.hours is not None:
        return "junto a absent_by, active lleva weekdays y timezone, sin hours"
    if any(value is not None and not 0 < value <= LONGEST for value in (every, within)):
        return "absent_for y absent_within son más de 0 segundos y hasta 31d"
    if every is not None and active is not None:
        weeks = every / active.intervals("UTC").weekly
        if weeks > _MOST_WEEKS:
            took = f"con ese active, absent_for tardaría {weeks:.0f} semanas"
            return f"{took}; se permiten {_MOST_WEEKS}"
    return None
