"""How alert_manager.yaml says when an event has to come."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from .domain.absence import Awaited
from .domain.time_intervals import (
    ALL_DAY,
    EVERY_DAY,
    Intervals,
    parse_clock,
    parse_hours,
    parse_weekdays,
)
from .durations import Seconds

DAY = 86400.0
LONGEST = 31 * DAY
_MOST_WEEKS = 53


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"se encontró {name!r}; se espera una zona horaria como America/Mexico_City"
        ) from None
    return name


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ZoneName = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone."""
_Texts = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class ActiveSettings(BaseModel):
    """`active`: when time counts; `lun-vie`, `08:30-15:00`, one or a list of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weekdays: Annotated[_Texts, AfterValidator(lambda v: parse_weekdays(v) and v)] | None = None
    hours: Annotated[_Texts, AfterValidator(lambda v: [parse_hours(h) for h in v] and v)] | None = (
        None
    )
    timezone: ZoneName | None = None

    def intervals(self, zone: str) -> Intervals:
        """Returns it for use; `zone` counts where it names none."""
        return Intervals(
            zone=ZoneInfo(self.timezone or zone),
            weekdays=EVERY_DAY if self.weekdays is None else parse_weekdays(self.weekdays),
            hours=ALL_DAY if self.hours is None else tuple(map(parse_hours, self.hours)),
        )


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
