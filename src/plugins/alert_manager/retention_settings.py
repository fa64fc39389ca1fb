"""`config.retention`: how long alert_db keeps what is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from .config_file import Fault
from .domain.rule_spec import RuleSpec
from .durations import parse_duration

if TYPE_CHECKING:
    from .settings import EngineSettings

DAY = 86400.0
DEFAULT = 180 * DAY


def _parse(value: Any) -> float | None:
    # YAML reads a bare off, or no, as false.
    if value is False or value == "off":
        return None
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(
            f"se encontró {value!r}; se espera una duración como 180d, u off para no borrar nada"
        ) from None


def _at_least_a_day(seconds: float | None) -> float | None:
    if seconds is not None and not DAY <= seconds < float("inf"):
        raise ValueError(
            f"se encontró {in_words(seconds)}; se espera 1d o más, u off para no borrar nada"
        )
    return seconds


RetentionSeconds = Annotated[float | None, BeforeValidator(_parse), AfterValidator(_at_least_a_day)]
"""Seconds, or None: for ever."""


def retention_faults(config: EngineSettings, rules: Sequence[RuleSpec]) -> Iterator[Fault]:
    """Says where something is to be known for longer than it is kept.

    A repeat has to find the alert that it repeats, and a rule what it counts or compares with;
    `rules` in the order of the file.
    """
    if config.retention is None:
        return
    needed = [
        ("config.reader.max_event_age", config.reader.max_event_age),
        ("config.delivery.max_age", config.delivery.max_age),
        *(need for index, rule in enumerate(rules) for need in _needs(index, rule)),
    ]
    path, longest = max(needed, key=lambda need: need[1])
    if config.retention < longest:
        yield Fault(
            "config.retention",
            f"se encontró {in_words(config.retention)}; se espera {in_words(longest)} o más, por "
            f"{path}, u off para no borrar nada",
        )


def forgettable(rules: Sequence[RuleSpec]) -> list[str]:
    """Returns the rules whose memory is spent when nothing was added to it for the retention.

    Not that of a rule that compares with the last value, however old that is.
    """
    return [rule.name for rule in rules if rule.remembers and not _compares_with_the_last(rule)]


def _compares_with_the_last(rule: RuleSpec) -> bool:
    measure = rule.measure
    return measure is not None and measure.change is not None and measure.within is None


def _needs(index: int, rule: RuleSpec) -> Iterator[tuple[str, float]]:
    path = f"alert_config.rules.{index} ({rule.name})"
    yield f"la ventana de {path}", rule.window
    measure = rule.measure
    if measure is not None and measure.within is not None:
        # Of events that are counted three windows are remembered, for those that come late.
        counts = measure.path is None
        yield (
            (f"tres veces el count_within de {path}", 3 * measure.within)
            if counts
            else (
                f"el change_within de {path}",
                measure.within,
            )
        )


def in_words(seconds: float) -> str:
    """Returns a duration as people write one: `36h`, `180d`."""
    for unit, letter in ((DAY, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g}{letter}"
    return f"{seconds:g}s"
