"""Hours and weekdays in a time zone, as people write them: `lun-vie`, `08:30-15:00`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = 24 * 60  # minutes
EVERY_DAY = frozenset(range(7))
ALL_DAY = ((0, DAY),)

_NAMES = (
    ("lun", "mon"),
    ("mar", "tue"),
    ("mie", "wed"),
    ("jue", "thu"),
    ("vie", "fri"),
    ("sab", "sat"),
    ("dom", "sun"),
)
DAYS = tuple(spanish for spanish, _ in _NAMES)
"""The days of the week, from Monday on."""
_DAYS = {name: day for day, names in enumerate(_NAMES) for name in names}
_PLAIN = str.maketrans("éá", "ea")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals that come back every week.

    Attributes:
        weekdays: on which they begin; 0 is Monday.
        hours: their begin and end, in minutes since midnight; an end that is not after its begin
            is on the next day.
        zone: the time zone whose clock counts.
    """

    zone: ZoneInfo
    weekdays: frozenset[int] = EVERY_DAY
    hours: tuple[tuple[int, int], ...] = ALL_DAY

    def since(self, moment: float) -> Iterator[tuple[float, float]]:
        """Yields the intervals that end after a moment, without end: (begin, end) in epoch seconds.

        Those that touch or overlap are one.
        """
        begin, end = float("-inf"), float("-inf")
        if self.weekdays == EVERY_DAY and self.hours == ALL_DAY:
            yield begin, float("inf")
            return
        for first, last in self._daily(moment):
            if first <= end:
                end = max(end, last)
                if end - begin > _LONGEST:  # around the clock, all week: one without an end
                    yield begin, float("inf")
                    return
                continue
            if end > moment:
                yield begin, end
            begin, end = first, last

    def latest(self, moment: float) -> float:
        """Returns the last moment, up to this one, that lies in an interval (epoch seconds)."""
        last = moment - _LONGEST
        for begin, end in self.since(last):
            if begin > moment:
                break
            last = min(end, moment)
        return last

    @property
    def weekly(self) -> float:
        """Seconds of a week that lie in them, at the most."""
        minutes = sum((end if end > begin else end + DAY) - begin for begin, end in self.hours)
        return len(self.weekdays) * min(minutes, DAY) * 60.0

    def _daily(self, moment: float) -> Iterator[tuple[float, float]]:
        day = datetime.fromtimestamp(moment, self.zone).date() - timedelta(days=2)
        while True:
            if day.weekday() in self.weekdays:
                for begin, end in sorted(self.hours):
                    length = end if end > begin else end + DAY
                    first = at(day, begin, self.zone)
                    # Of a clock that is set back, the second pass; set forward, none may be left.
                    last = at(day, length, self.zone, latest=True)
                    if last > first:
                        yield first, last
            day += timedelta(days=1)


_LONGEST = 8 * 24 * 3600.0  # seconds


def at(day: date, minutes: int, zone: ZoneInfo, latest: bool = False) -> float:
    """Returns the moment (epoch seconds) at which a clock shows so many minutes after midnight.

    A time that a clock change leaves out is as long after midnight as if there were no change; of
    one that comes twice it is the first, or the latest.
    """
    day += timedelta(days=minutes // DAY)
    clock = time(minutes % DAY // 60, minutes % 60)
    moment = datetime.combine(day, clock, zone)
    first = moment.timestamp()
    return max(first, moment.replace(fold=1).timestamp()) if latest else first


def parse_clock(text: str) -> int:
    """Reads `08:30` as minutes since midnight, up to `24:00`.

    Raises:
        ValueError: says what is expected.
    """
    match = _CLOCK.fullmatch(text.strip())
    minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else DAY + 1
    if minutes > DAY:
        raise ValueError(f"se encontró {text!r}; se espera una hora como 08:30")
    return minutes


def parse_hours(text: str) -> tuple[int, int]:
    """Reads `08:30-15:00`; `22:00-06:00` ends on the next day.

    Raises:
        ValueError: says what is expected.
    """
    begin, dash, end = text.partition("-")
    if not dash or begin.strip() == "24:00" or begin.strip() == end.strip():
        raise ValueError(f"se encontró {text!r}; se espera un horario como 08:30-15:00")
    return parse_clock(begin), parse_clock(end)


def parse_weekdays(names: Iterable[str]) -> frozenset[int]:
    """Reads `lun`, `lun-vie`, also in English.

    Raises:
        ValueError: says what is expected.
    """
    days: set[int] = set()
    for name in names:
        first, dash, last = (part.strip() for part in name.lower().translate(_PLAIN).partition("-"))
        begin, end = _DAYS.get(first), _DAYS.get(last if dash else first)
        if begin is None or end is None:
            allowed = ", ".join(spanish for spanish, _ in _NAMES)
            raise ValueError(f"se encontró {name!r}; se espera lun-vie, o uno de: {allowed}")
        days.update((begin + i) % 7 for i in range((end - begin) % 7 + 1))
    return frozenset(days)
