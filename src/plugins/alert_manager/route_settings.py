"""`alert_config.routing`: which alerts are told by which notification channels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .config_file import Fault
from .domain.escalation import Step
from .domain.model import Severity
from .domain.routing import Route
from .durations import Seconds
from .utils.channels.base import SeverityField


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


_Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class RouteSettings(BaseModel):
    """An entry of `alert_config.routing.routes`; each key takes one name or a list."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    rules: _Names | None = None
    channels: _Names | None = None
    plugins: _Names | None = None
    users: _Names | None = None
    min_severity: SeverityField = Severity.BAJA
    to: _Names
    # `continue` is what others call it; Python keeps the word for itself.
    goes_on: bool = Field(default=False, alias="continue")

    def route(self) -> Route:
        """Returns it for use."""
        return Route(
            to=tuple(self.to),
            rules=_set(self.rules),
            channels=_set(self.channels),
            plugins=_set(self.plugins),
            users=_set(self.users),
            min_severity=self.min_severity,
            goes_on=self.goes_on,
        )


class RoutingSettings(BaseModel):
    """`alert_config.routing`: `default` is who is told where no route fits; all, without it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: _Names | None = None
    routes: list[RouteSettings] = []


class StepSettings(BaseModel):
    """An entry of `alert_config.escalation`: who is told of a critical alert that nobody minds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[Seconds, Field(gt=0)]
    channels: _Names

    def step(self) -> Step:
        """Returns it for use."""
        return Step(self.after, tuple(self.channels))


def escalation_faults(
    steps: Sequence[StepSettings], used: Sequence[str], enabled: Collection[str]
) -> Iterator[Fault]:
    """Says which steps of the escalation come too early, or tell nobody.

    Args:
        steps: in their order.
        used: names in `notification_channels`.
        enabled: those of them that are switched on.
    """
    before = 0.0
    for index, step in enumerate(steps):
        path = f"alert_config.escalation.{index}"
        yield from _unknown(f"{path}.channels", step.channels, used)
        yield from _switched_off(f"{path}.channels", step.channels, used, enabled)
        if step.after <= before:
            yield Fault(f"{path}.after", "cada paso va después del anterior")
        before = step.after


def fallback_faults(
    fallbacks: Mapping[str, str | None], used: Sequence[str], enabled: Collection[str]
) -> Iterator[Fault]:
    """Says which fallbacks are none: unknown, switched off, or themselves in the end.

    Args:
        fallbacks: of the channels that are switched on.
        used: names in `notification_channels`.
        enabled: those of them that are switched on.
    """
    for name, fallback in fallbacks.items():
        path = f"notification_config.{name}.fallback"
        named = [] if fallback is None else [fallback]
        yield from _unknown(path, named, used)
        yield from _switched_off(path, named, used, enabled)
        seen, following = {name}, fallback
        while following is not None:
            if following in seen:
                yield Fault(path, f"la reserva de {name} acaba en {following}: es un círculo")
                break
            seen.add(following)
            following = fallbacks.get(following)


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def route_faults(
    routing: RoutingSettings, used: Sequence[str], rules: Sequence[str], channels: Sequence[str]
) -> Iterator[Fault]:
    """Says which names of routes are none.

    Args:
        routing: the routes.
        used: names in `notification_channels`.
        rules: names of rules, and of what the plugin tells of itself.
        channels: CoreC channels that are watched.
    """
    path = "alert_config.routing"
    yield from _unknown(f"{path}.default", routing.default, used)
    for index, route in enumerate(routing.routes):
        where = f"{path}.routes.{index}"
        yield from _unknown(f"{where}.to", route.to, used)
        yield from _unknown(f"{where}.rules", route.rules, rules)
        yield from _unknown(f"{where}.channels", route.channels, channels)


def _switched_off(
    path: str, names: Sequence[str], used: Sequence[str], enabled: Collection[str]
) -> Iterator[Fault]:
    for name in names:
        if name in used and name not in enabled:
            yield Fault(
                path,
                f"{name!r} está desactivado: no avisaría a nadie; ponle enabled: true en "
                "notification_config, o elige otro",
            )


def _unknown(path: str, names: Sequence[str] | None, known: Sequence[str]) -> Iterator[Fault]:
    for name in names or ():
        if name not in known:
            allowed = ", ".join(known) or "ninguno"
            yield Fault(path, f"no existe {name!r}; se permite: {allowed}")
