"""How alert_manager.yaml says hours and weekdays."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from .domain.time_intervals import ALL_DAY, EVERY_DAY, Intervals, parse_hours, parse_weekdays


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
