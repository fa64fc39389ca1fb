"""alert_manager.yaml as a checked model; every fault is reported with its path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from .alert_settings import AlertSettings, bound_faults, context_faults, rule_faults
from .channel_settings import checked_channels, in_use, name_faults
from .config_file import ConfigError, Fault, faults_of, interpolate, read_yaml
from .database_settings import DatabaseSettings, from_environment
from .domain.decode import Limits
from .domain.routing import Router
from .domain.troubles import TROUBLES
from .durations import Seconds
from .home import shipped
from .retention_settings import DEFAULT, RetentionSeconds, retention_faults
from .route_settings import escalation_faults, fallback_faults, route_faults
from .start_from import StartFrom, parse_start_from
from .utils.channels.base import ChannelSettings
from .utils.channels.log import LogSettings
from .utils.channels.registry import REPORT_CHANNELS

CONFIG_ENV = "ALERT_MANAGER_CONFIG"
SHIPPED = "configs/plugins/alert_manager/alert_manager.yaml"
_NAME = "alert_manager.yaml"
HOUR = 3600.0
_MOST_PAGE_BYTES = 32 << 20
REPORTS = "alert_data"  # the CoreC channel of our own reports, and of commands to us


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class BreakerSettings(_Model):
    """`config.circuit_breaker`: failures in a row that open it, and seconds until it is probed."""

    max_failures: int = Field(default=5, ge=1, le=1000)
    reset_timeout: Seconds = 60.0


class LimitSettings(_Model):
    """`config.limits`: what one payload may ask of us (bytes, levels, objects and lists, parts)."""

    max_bytes: int = Field(default=1 << 20, ge=1024, le=64 << 20)
    max_window: int = Field(default=8 << 20, ge=1024, le=128 << 20)
    max_depth: int = Field(default=64, ge=2, le=500)
    max_nodes: int = Field(default=100_000, ge=100, le=10_000_000)
    max_members: int = Field(default=100, ge=1, le=10_000)

    def limits(self, factor: int = 1) -> Limits:
        """Returns them for the decoder; those of what a payload holds, times `factor`."""
        return Limits(
            max_bytes=factor * self.max_bytes,
            max_window=self.max_window,
            max_depth=factor * self.max_depth,
            max_nodes=factor * self.max_nodes,
            max_members=self.max_members,
        )


class ReaderSettings(_Model):
    """`config.reader`: how `eventos` is read.

    `max_event_age`: older events are stored, and told in one digest instead of one by one.
    `poll_interval` is the wait between polls while the reader may not sleep (an old installation
    without the host's trigger, or a writer's transaction that stays open); `tick` is the longest
    sleep in any case.
    """

    batch_size: int = Field(default=5000, ge=1, le=20_000)
    batch_bytes: int = Field(default=4 << 20, ge=1 << 20, le=512 << 20)
    start_from: Annotated[str, AfterValidator(lambda text: parse_start_from(text) and text)] = "1h"
    max_event_age: Seconds = 24 * HOUR
    poll_interval: Seconds = 0.25
    tick: Seconds = 5.0

    @property
    def page_bytes(self) -> int:
        """Bytes of payloads that are asked for at once; corec_db holds a page four times over."""
        return min(self.batch_bytes, _MOST_PAGE_BYTES)

    def start(self) -> StartFrom:
        """Returns where a first start begins."""
        return parse_start_from(self.start_from)


class StreamSettings(_Model):
    """`config.streams`: the second source, Redis streams named like their channel.

    `channels`: which are read; all that are watched by default, apart from our own reports.
    """

    enabled: bool = True
    channels: list[str] | None = None
    batch_size: int = Field(default=200, ge=1, le=10_000)


class DeliverySettings(_Model):
    """`config.delivery`: retries of one message, in seconds."""

    retry_base: Seconds = 2.0
    retry_cap: Seconds = 900.0
    max_age: Annotated[Seconds, Field(gt=0)] = 24 * HOUR


class EngineSettings(_Model):
    """`config`: how the plugin works, as opposed to what it says.

    `retention`: seconds for which alert_db keeps what is over; None: for ever.
    """

    circuit_breaker: BreakerSettings = BreakerSettings()
    reader: ReaderSettings = ReaderSettings()
    streams: StreamSettings = StreamSettings()
    limits: LimitSettings = LimitSettings()
    delivery: DeliverySettings = DeliverySettings()
    retention: RetentionSeconds = DEFAULT


class Settings(_Model):
    """The whole file. `notification_config` is checked by the channel that each entry is for."""

    channels: list[str] = Field(min_length=1)
    config: EngineSettings = EngineSettings()
    alert_config: AlertSettings
    notification_channels: list[str]
    notification_config: dict[str, dict[str, Any]] = {}
    db_config: DatabaseSettings = DatabaseSettings()

    def watched(self) -> list[str]:
        """Returns the CoreC channels that are read: commands come by that of our reports."""
        return list(dict.fromkeys((*self.channels, REPORTS)))

    def streams(self) -> list[str]:
        """Returns the names of the Redis streams that are read."""
        chosen = self.config.streams.channels
        if not self.config.streams.enabled:
            return []
        return self.watched() if chosen is None else chosen

    def database(self) -> dict[str, Any]:
        """Returns libpq keywords of alert_db; the environment goes first.

        Raises:
            ConfigError: the environment's ALERT_DB_DSN is none.
        """
        return from_environment(os.environ) or self.db_config.parameters()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings.

    Attributes:
        channels: the settings of each notification channel in use.
        retired: those that are not, with the channel in use that stands in for them.
    """

    settings: Settings
    channels: Mapping[str, ChannelSettings]
    retired: Mapping[str, str] = field(default_factory=dict)

    def without(self, channel: str) -> Loaded:
        """Returns it with one channel less in use."""
        channels = {name: c for name, c in self.channels.items() if name != channel}
        return replace(self, channels=channels)

    def router(self) -> Router:
        """Returns what says who is told of an alert."""
        routing = self.settings.alert_config.routing
        return Router(
            {name: settings.min_severity for name, settings in self.channels.items()},
            always=self.machines(),
            routes=[route.route() for route in routing.routes],
            default=routing.default,
        )

    def fallbacks(self) -> dict[str, str]:
        """Returns the channel that stands in for each channel that has one."""
        return {name: c.fallback for name, c in self.channels.items() if c.fallback is not None}

    def machines(self) -> frozenset[str]:
        """Returns the names of the channels that wake nobody: the log and our own reports."""
        logs = (name for name, c in self.channels.items() if isinstance(c, LogSettings))
        return frozenset((*logs, *REPORT_CHANNELS))


def load(config: Mapping[str, Any], root: Path | None = None) -> Loaded:
    """Checks a configuration, or the file that the environment's ALERT_MANAGER_CONFIG names.

    Args:
        config: the content of alert_manager.yaml, or the plugin.json that names it (`config_file`).
        root: the folder that `config_file` is relative to; the working directory by default.

    Raises:
        ConfigError: with every fault found.
    """
    override = os.environ.get(CONFIG_ENV)
    if override:
        return check(read_yaml(Path(override)))
    named = config.get("config_file")
    if isinstance(named, str):
        path = (root or Path.cwd()) / named
        # The folder of the plugin alone, in another tree, has its own copy.
        return check(read_yaml(path if path.exists() or named != SHIPPED else shipped(_NAME)))
    return check(config or read_yaml(shipped(_NAME)))


def source_path(config: Mapping[str, Any], root: Path) -> Path | None:
    """Returns the file that `load` has read, or that its caller did; None where there is none."""
    override = os.environ.get(CONFIG_ENV)
    if override:
        return Path(override)
    named = config.get("config_file")
    if isinstance(named, str):
        return root / named
    path = root / SHIPPED
    try:
        return path if read_yaml(path) == dict(config) else None
    except ConfigError:
        return None


def check(raw: Mapping[str, Any]) -> Loaded:
    """Checks the content of alert_manager.yaml.

    Raises:
        ConfigError: with every fault found.
    """
    content = interpolate(dict(raw))
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(faults_of(error, Settings)) from None
    faults = [
        *rule_faults(settings.alert_config, settings.channels),
        *context_faults(settings.alert_config, settings.channels),
        *bound_faults(settings.alert_config),
        *name_faults(settings.notification_channels),
        *_stream_faults(settings),
        *_words_faults(settings),
        *_route_faults(settings),
        *retention_faults(settings.config, settings.alert_config.specs()),
    ]
    names = settings.notification_channels
    checked = checked_channels(names, settings.notification_config, faults)
    channels = in_use(names, checked)
    fallbacks = {name: channel.fallback for name, channel in channels.items()}
    # Of a channel with a fault of its own nobody knows whether it is on.
    enabled = {*channels, *(name for name in names if name not in checked)}
    faults += fallback_faults(fallbacks, names, enabled)
    faults += escalation_faults(settings.alert_config.escalation, names, enabled)
    if faults:
        raise ConfigError(faults)
    others = {name: c.fallback for name, c in checked.items() if name not in channels}
    retired = {name: other for name, other in others.items() if other in channels}
    return Loaded(settings, channels, retired)


def _words_faults(settings: Settings) -> list[Fault]:
    known = ", ".join(settings.notification_channels) or "ninguno"
    return [
        Fault(
            f"alert_config.rules.{index}.words.{name}",
            f"no es de notification_channels; se permite: {known}",
        )
        for index, rule in enumerate(settings.alert_config.rules)
        for name in rule.words
        if name not in settings.notification_channels
    ]


def _route_faults(settings: Settings) -> Iterator[Fault]:
    alert_config = settings.alert_config
    rules = [*(rule.name for rule in alert_config.rules), *sorted(TROUBLES)]
    used = settings.notification_channels
    yield from route_faults(alert_config.routing, used, rules, settings.watched())


def _stream_faults(settings: Settings) -> list[Fault]:
    watched = ", ".join(settings.channels)
    return [
        Fault(
            f"config.streams.channels.{index}",
            f"el canal {name!r} no se vigila; se permite: {watched}",
        )
        for index, name in enumerate(settings.config.streams.channels or ())
        if name not in settings.channels
    ]
