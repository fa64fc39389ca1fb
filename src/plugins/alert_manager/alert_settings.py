"""`alert_config`: the thresholds, their bounds, the rules that use them, and when they repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .absence_settings import ZoneName
from .config_file import Fault
from .domain.rule_spec import RuleSpec
from .durations import Seconds
from .rule_settings import RuleSettings

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DedupeSettings(_Model):
    """`alert_config.dedupe`: seconds in which a repeat is counted instead of told."""

    window: Seconds = 3600.0
    redis_timeout: Seconds = 0.1


class AlertSettings(_Model):
    """`alert_config`: thresholds (the knobs) and the rules that use them."""

    timezone: ZoneName = "America/Mexico_City"
    thresholds: dict[str, Finite] = {}
    threshold_bounds: dict[str, tuple[Finite, Finite]] = {}
    rules: list[RuleSettings] = []
    dedupe: DedupeSettings = DedupeSettings()

    def specs(self) -> list[RuleSpec]:
        """Returns the rules ready to compile."""
        return [rule.spec(self.dedupe.window, self.timezone) for rule in self.rules]

    def bounds(self) -> dict[str, tuple[float, float, float]]:
        """Returns of each threshold its value, and the lowest and highest that a command may set.

        Where nothing says them: a tenth of it, and ten times as much.
        """
        return {
            name: (value, *self.threshold_bounds.get(name, sorted((value / 10, value * 10))))
            for name, value in self.thresholds.items()
        }

    def threshold_fault(self, thresholds: Mapping[str, float]) -> str | None:
        """Says what is wrong with rules that would use these thresholds, or None."""
        for rule in self.rules:
            try:
                rule.check_levels(thresholds)
            except ValueError as error:
                return f"regla {rule.name}: {error}"
        return None


def rule_faults(alert_config: AlertSettings, channels: Sequence[str]) -> Iterator[Fault]:
    """Says what is wrong with rules where only `channels` (CoreC's) are watched."""
    seen: set[str] = set()
    for index, rule in enumerate(alert_config.rules):
        path = f"alert_config.rules.{index}"
        if rule.name in seen:
            yield Fault(f"{path}.name", f"la regla {rule.name!r} está dos veces")
        seen.add(rule.name)
        for channel in rule.channels:
            if channel not in channels:
                watched = ", ".join(channels)
                text = f"el canal {channel!r} no se vigila; se permite: {watched}"
                yield Fault(f"{path}.channel", text)
        try:
            rule.check_levels(alert_config.thresholds)
        except ValueError as error:
            yield Fault(f"{path}.levels", str(error))


def bound_faults(alert_config: AlertSettings) -> Iterator[Fault]:
    """Says what is wrong with the bounds of thresholds."""
    for name, (low, high) in alert_config.threshold_bounds.items():
        value = alert_config.thresholds.get(name)
        path = f"alert_config.threshold_bounds.{name}"
        if value is None:
            known = ", ".join(sorted(alert_config.thresholds)) or "ninguno"
            yield Fault(path, f"no existe el umbral {name!r}; se permite: {known}")
        elif not low <= value <= high:
            yield Fault(
                path,
                f"se encontró [{low:g}, {high:g}]; el umbral, {value:g}, no está entre los dos",
            )
