"""Alerts about ourselves: what the alert manager itself has to tell people."""

from __future__ import annotations

from collections.abc import Mapping

from .domain.fingerprint import fingerprint
from .domain.model import Candidate, Severity

SOURCE = "alert_manager"
CHANNEL = "alert_data"
_WINDOW = 3600.0  # seconds

Targets = Mapping[Severity, tuple[str, ...]]
"""Names of the notification channels that tell an alert of a severity."""


class OwnAlerts:
    """Words our own troubles as alerts, ready to be stored like any other."""

    def __init__(self, targets: Targets, instance: str) -> None:
        self._targets = targets
        self._instance = instance

    def truncated(self, last_id: int, reads_from: int, now: float) -> Candidate:
        """`eventos` was emptied or restored: ids up to `last_id` were read, its rows are gone."""
        return self._candidate(
            "eventos_truncada",
            Severity.ALTA,
            "La tabla eventos se vació o se restauró",
            f"Se había leído hasta el id {last_id} y esa fila ya no está. Se vuelve a leer desde "
            f"el id {reads_from}: nada nuevo se pierde, y lo que se lea dos veces cuenta como "
            "repetición. Si nadie la vació a propósito, revisa corec_db y su última copia.",
            {"ultimo_id": last_id, "desde_id": reads_from},
            now,
        )

    def _candidate(
        self,
        rule: str,
        severity: Severity,
        title: str,
        message: str,
        details: Mapping[str, object],
        now: float,
    ) -> Candidate:
        data = {"tipo": rule, "plugin": "alert_manager", **details}
        return Candidate(
            source=SOURCE,
            event_id=None,
            channel=CHANNEL,
            rule=rule,
            severity=severity,
            title=title,
            message=message,
            event_data=data,
            timestamp=now,
            instance_id=self._instance,
            fingerprint=fingerprint(rule, severity, data, None),
            window=_WINDOW,
            targets=self._targets[severity],
        )
