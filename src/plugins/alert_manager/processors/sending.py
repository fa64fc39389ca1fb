"""Builds the channels and what sends over them, from checked settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..domain.troubles import LASTING
from ..metrics import Metrics
from ..self_watch import SelfWatch
from ..settings import Loaded
from ..utils.background import LINGER, Background
from ..utils.channels.base import Channel
from ..utils.channels.registry import STREAM_REPORT, build
from ..utils.channels.report import EventosReport, StreamReport
from ..utils.followups import FollowUps
from ..utils.hand_in import HandIn
from ..utils.notify import Delivery
from ..utils.outbox import Outbox
from ..utils.pg import PgSession
from ..utils.spool import Spool


class Sending(NamedTuple):
    """The connections of what tells people; the last one is with corec_db."""

    telling: PgSession
    following: PgSession
    reporting: PgSession


def build_delivery(
    loaded: Loaded,
    redis: Any,
    instance: str,
    sessions: Sending,
    metrics: Metrics,
    watch: SelfWatch,
    spool: Spool,
    hand_in: HandIn,
    in_flood: Callable[[], bool],
) -> Delivery:
    """Builds what tells people: each channel in use, what it keeps to, what comes with time.

    `in_flood` says whether events come faster than they are judged.
    """
    config = loaded.settings.config
    channels: dict[str, Channel] = {
        **_configured_channels(loaded),
        "alert_data": EventosReport(sessions.reporting, instance),
    }
    if redis is not None:
        channels[STREAM_REPORT] = StreamReport(redis, instance)
    zone = loaded.settings.alert_config.timezone
    paces = {name: settings.pace(zone) for name, settings in loaded.channels.items()}
    outbox = Outbox(sessions.telling, hand_in, sessions.following)
    alert_config = loaded.settings.alert_config
    steps = [step.step() for step in alert_config.escalation]
    lasting = {spec.name for spec in alert_config.specs() if spec.lasts}
    follow_ups = FollowUps(
        sessions.following,
        loaded.router(),
        lasting | LASTING,
        steps,
        alert_config.repeat_interval,
        loaded.machines(),
    )
    return Delivery(
        outbox,
        spool,
        channels,
        config.circuit_breaker,
        config.delivery,
        metrics,
        paces,
        follow_ups,
        watch,
        loaded.retired,
        {name: Background(LINGER, in_flood) for name in loaded.machines()},
    )


def _configured_channels(loaded: Loaded) -> dict[str, Channel]:
    """Builds the channels of the configuration, those that people read first."""
    settings = loaded.settings
    formats, machines = settings.alert_config.formats(), loaded.machines()
    names = [name for name in settings.notification_channels if name in loaded.channels]
    return {
        name: build(
            name, settings.notification_config.get(name, {}), loaded.channels[name], formats
        )
        for name in sorted(names, key=lambda name: name in machines)
    }
