"""`alert_config`: the thresholds, their bounds, the rules that use them, and when they repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from .config_file import Fault
from .domain.context import ContextSpec
from .domain.formats import (
    DATE_LETTERS,
    DEFAULT_ZONE,
    TIME_LETTERS,
    Formats,
    check_locale,
    check_pattern,
)
from .domain.paths import parse_path
from .domain.rule_spec import RuleSpec
from .durations import Seconds
from .interval_settings import ZoneName
from .route_settings import RoutingSettings, StepSettings
from .rule_settings import Finite, RuleSettings


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DedupeSettings(_Model):
    """`alert_config.dedupe`: seconds in which a repeat is counted instead of told."""

    window: Seconds = 3600.0
    redis_timeout: Seconds = 0.1


class ContextSettings(_Model):
    """An entry of `alert_config.context`: something that alerts carry where it is known."""

    channel: str
    fields: list[str] = Field(min_length=1)
    per: str | None = None
    alerts_of: list[str] | None = None

    @field_validator("fields", "per")
    @classmethod
    def _paths(cls, value: list[str] | str | None) -> list[str] | str | None:
        for text in [value] if isinstance(value, str) else value or ():
            parse_path(text)
        return value

    def spec(self, name: str) -> ContextSpec:
        """Returns it for use."""
        paths = map(parse_path, self.fields)
        return ContextSpec(
            name=name,
            channel=self.channel,
            fields={path[-1]: path for path in paths},
            per=None if self.per is None else parse_path(self.per),
            channels=None if self.alerts_of is None else frozenset(self.alerts_of),
        )


class FormatSettings(_Model):
    """`alert_config.format`: how numbers, money and times are shown; see `domain/formats.py`."""

    locale: Annotated[str, AfterValidator(check_locale)] = Formats.locale
    currency: str = Field(default=Formats.currency, min_length=1, max_length=10)
    date: str = Formats.date
    time: str = Formats.time

    @field_validator("date")
    @classmethod
    def _date(cls, value: str) -> str:
        return check_pattern(value, DATE_LETTERS)

    @field_validator("time")
    @classmethod
    def _time(cls, value: str) -> str:
        return check_pattern(value, TIME_LETTERS)


class AlertSettings(_Model):
    """`alert_config`: thresholds (the knobs) and the rules that use them."""

    timezone: ZoneName = DEFAULT_ZONE
    format: FormatSettings = FormatSettings()
    thresholds: dict[str, Finite] = {}
    threshold_bounds: dict[str, tuple[Finite, Finite]] = {}
    context: dict[str, ContextSettings] = {}
    rules: list[RuleSettings] = []
    dedupe: DedupeSettings = DedupeSettings()
    routing: RoutingSettings = RoutingSettings()
    escalation: list[StepSettings] = []
    repeat_interval: Annotated[Seconds, Field(gt=0)] | None = 4 * 3600.0

    def specs(self) -> list[RuleSpec]:
        """Returns the rules ready to compile."""
        return [rule.spec(self.dedupe.window, self.timezone) for rule in self.rules]

    def formats(self) -> Formats:
        """Returns how values are shown."""
        return Formats(zone=self.timezone, **self.format.model_dump())

    def contexts(self) -> list[ContextSpec]:
        """Returns what alerts carry, ready for use."""
        return [settings.spec(name) for name, settings in self.context.items()]

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


def context_faults(alert_config: AlertSettings, channels: Sequence[str]) -> Iterator[Fault]:
    """Says which contexts name channels that are not watched."""
    for name, context in alert_config.context.items():
        for key, named in (("channel", [context.channel]), ("alerts_of", context.alerts_of or [])):
            for channel in named:
                if channel not in channels:
                    text = f"el canal {channel!r} no se vigila; se permite: {', '.join(channels)}"
                    yield Fault(f"alert_config.context.{name}.{key}", text)


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
