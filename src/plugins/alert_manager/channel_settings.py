"""`notification_channels` and `notification_config`: which channels are in use, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from .config_file import Fault, faults_of
from .utils.channels.base import ChannelSettings
from .utils.channels.registry import REPORT_CHANNELS, settings_model


def name_faults(names: Sequence[str]) -> Iterator[Fault]:
    """Says which names of channels are there twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault("notification_channels", f"{name!r} está dos veces")


def checked_channels(
    names: Sequence[str], config: Mapping[str, Mapping[str, Any]], faults: list[Fault]
) -> dict[str, ChannelSettings]:
    """Returns the settings of each channel, also of those that are not in use.

    Args:
        names: in `notification_channels`.
        config: `notification_config`.
        faults: gets what is wrong.
    """
    checked: dict[str, ChannelSettings] = {}
    for name in dict.fromkeys([*names, *config]):
        raw = config.get(name, {})
        path = f"notification_config.{name}"
        try:
            model = settings_model(name, raw)
        except ValueError as error:
            where = path if name in config else "notification_channels"
            faults.append(Fault(where, str(error)))
            continue
        try:
            checked[name] = model.model_validate({k: v for k, v in raw.items() if k != "type"})
        except ValidationError as error:
            faults.extend(faults_of(error, model, path))
    return checked


def in_use(
    names: Sequence[str], checked: Mapping[str, ChannelSettings]
) -> dict[str, ChannelSettings]:
    """Returns the channels that tell: those named and switched on, and our own reports."""
    used = {name: s for name, s in checked.items() if name in names and s.enabled}
    return {**used, **{name: ChannelSettings() for name in REPORT_CHANNELS}}
