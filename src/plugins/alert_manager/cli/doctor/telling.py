"""The notification channels: would a message get through, as far as that can be asked quietly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ...domain.delivery import Outcome, Sent
from ...settings import Loaded
from ...utils.channels.base import Channel, Probed
from ...utils.channels.registry import REPORT_CHANNELS, build
from .finding import Finding, fault, good, warning

_LIMIT = 15.0  # seconds for all channels together


def check_channels(loaded: Loaded) -> Iterator[Finding]:
    """Asks each channel's server whether it would take a message; sends none."""
    people = [name for name in loaded.channels if name not in loaded.machines()]
    if not people:
        yield warning(
            "avisos",
            "solo está activo el log: nadie recibe nada en su teléfono ni en su correo",
            "activa un canal en notification_config (enabled: true); docs/channels.md",
        )
    yield from asyncio.run(_probed(loaded))


async def _probed(loaded: Loaded) -> list[Finding]:
    names = [name for name in loaded.channels if name not in REPORT_CHANNELS]
    return list(await asyncio.gather(*(_probe(loaded, name) for name in names)))


async def _probe(loaded: Loaded, name: str) -> Finding:
    raw = loaded.settings.notification_config.get(name, {})
    formats = loaded.settings.alert_config.formats()
    part = f"canal {name}"
    channel: Channel = build(name, raw, loaded.channels[name], formats)
    try:
        if not isinstance(channel, Probed):
            return good(part, f"para probarlo: ./scripts/alerts.sh test-notify {name}")
        async with asyncio.timeout(_LIMIT):
            outcome = await channel.probe()
    except TimeoutError:
        return fault(part, f"su servidor no responde en {_LIMIT:g} s", _mend(name))
    finally:
        await channel.close()
    return _judged(part, name, outcome)


def _judged(part: str, name: str, outcome: Outcome) -> Finding:
    if isinstance(outcome, Sent):
        return good(part, "su servidor responde")
    return fault(part, outcome.reason, _mend(name))


def _mend(name: str) -> str:
    where = f"notification_config.{name}"
    return f"revisa {where} y la red; después: ./scripts/alerts.sh test-notify {name}"
