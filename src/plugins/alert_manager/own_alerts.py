"""Alerts about ourselves: what the alert manager itself has to tell people."""

from __future__ import annotations

from collections.abc import Mapping

from .candidates import OWN_SOURCE
from .domain.backlog import Backlog
from .domain.fingerprint import fingerprint
from .domain.formats import Formats, duration
from .domain.model import Severity
from .domain.outcome import Candidate, Said
from .domain.redact import redact_text
from .domain.routing import Router

CHANNEL = "alert_data"
_WINDOW = 3600.0  # seconds


class OwnAlerts:
    """Words our own troubles as alerts, ready to be stored like any other."""

    def __init__(self, router: Router, instance: str, formats: Formats) -> None:
        self._router = router
        self._formats = formats
        self._instance = instance

    def begun_anew(self, what: str, now: float) -> Candidate:
        """A source was emptied or restored; `what` says which, and until where it was read."""
        return self._candidate(
            "origen_vaciado",
            Severity.ALTA,
            "Una fuente de eventos se vació o se restauró",
            f"{what}, y eso ya no está. Se sigue con lo que hay: nada nuevo se pierde, y lo que se "
            "lea dos veces cuenta como repetición. Si nadie la vació a propósito, revisa la base y "
            "su última copia.",
            {"origen": what, "desde": now},
            now,
        )

    def backlog(self, backlog: Backlog, now: float) -> Candidate:
        """Old events were stored without telling each."""
        total = sum(backlog.counts.values())
        parts = [
            f"{n} de severidad {severity.label}"
            for severity, n in sorted(backlog.counts.items(), reverse=True)
        ]
        return self._candidate(
            "eventos_antiguos",
            max(backlog.counts),
            f"{total} {'evento antiguo' if total == 1 else 'eventos antiguos'} con alerta, "
            "sin aviso uno por uno",
            f"Del {self._time(backlog.first)} al {self._time(backlog.last)}: {', '.join(parts)}. "
            "Eran demasiado antiguos para avisar de cada uno. Están guardados: "
            "./scripts/alerts.sh list",
            {"total": total, "desde": backlog.first, "hasta": backlog.last},
            now,
        )

    def config_rejected(self, faults: str, now: float) -> Candidate:
        """The configuration's file was changed, and cannot be used."""
        return self._candidate(
            "configuracion_rechazada",
            Severity.ALTA,
            "La configuración nueva de alertas no vale",
            f"Sigue la anterior. {redact_text(faults)}. Corrígela; para comprobarla: "
            "./scripts/alerts.sh check-config",
            {"fallos": faults},
            now,
        )

    def not_reading(
        self, source: str, severity: Severity, since: float, reason: str, now: float
    ) -> Candidate:
        """A source has not been read for a while."""
        return self._candidate(
            "lectura_detenida",
            severity,
            f"No se pueden leer eventos de {source}",
            f"Desde el {self._time(since)} no llega ninguno: {redact_text(reason)}. Nada se pierde "
            "si vuelve, pero hasta entonces nadie se entera de lo que pase. Se sigue intentando.",
            {"origen": source, "desde": int(since)},
            now,
        )

    def reading_again(self, source: str, since: float, now: float) -> Candidate:
        """A source is read again after `not_reading` was told."""
        return self._candidate(
            "lectura_recuperada",
            Severity.MEDIA,
            f"Se leen de nuevo eventos de {source}",
            f"Estuvo sin leerse desde el {self._time(since)}. Se pone al día con lo que esperaba.",
            {"origen": source, "desde": int(since)},
            now,
        )

    def behind(self, source: str, seconds: float, now: float) -> Candidate:
        """Writers have been faster than the reader for so many seconds."""
        return self._candidate(
            "lectura_retrasada",
            Severity.ALTA,
            f"Los eventos de {source} se leen con retraso",
            f"Desde hace {duration(seconds)} llegan más deprisa de lo que se juzgan: los avisos "
            "salen tarde. Nada se pierde. Si sigue, mira qué plugin escribe tanto, y si alert_db "
            "va lenta.",
            {"origen": source},
            now,
        )

    def caught_up(self, source: str, now: float) -> Candidate:
        """The reader has caught up after `behind`."""
        return self._candidate(
            "lectura_al_dia",
            Severity.BAJA,
            f"Los eventos de {source} se leen al día",
            "No queda ninguno por juzgar.",
            {"origen": source},
            now,
        )

    def alert_db_away(self, since: float, now: float) -> Candidate:
        """alert_db does not answer, or stores nothing; what is urgent is told all the same."""
        return self._candidate(
            "sin_base_de_alertas",
            Severity.CRITICA,
            "La base de alertas (alert_db) no responde",
            f"Desde el {self._time(since)}. Las alertas críticas y altas se avisan igual, y se "
            "guardarán cuando vuelva; las demás esperan hasta entonces. Revisa su servidor: "
            "./scripts/psql.sh alert_db -c 'SELECT 1'",
            {"desde": int(since)},
            now,
        )

    def alert_db_back(self, since: float, now: float) -> Candidate:
        """alert_db works again after `alert_db_away` was told."""
        return self._candidate(
            "base_de_alertas_recuperada",
            Severity.MEDIA,
            "La base de alertas (alert_db) responde de nuevo",
            f"Estuvo fuera desde el {self._time(since)}. Se guarda lo que se avisó sin ella, sin "
            "avisar otra vez, y se avisa de lo que esperaba.",
            {"desde": int(since)},
            now,
        )

    def channel_down(self, name: str, reason: str, now: float) -> Candidate:
        """A notification channel cannot tell; the others say so."""
        return self._candidate(
            "canal_caido",
            Severity.ALTA,
            f"No se puede avisar por {name}",
            f"{redact_text(reason)}. Sus avisos esperan, y si no vuelve se abandonan. Para "
            f"probarlo: ./scripts/alerts.sh test-notify {name}",
            {"canal": name, "desde": int(now)},
            now,
            but=name,
        )

    def channel_up(self, name: str, now: float) -> Candidate:
        """A notification channel works again after `channel_down`."""
        return self._candidate(
            "canal_recuperado",
            Severity.BAJA,
            f"Se avisa de nuevo por {name}",
            "Lo que esperaba sale ahora.",
            {"canal": name, "desde": int(now)},
            now,
        )

    def given_up(self, name: str, count: int, reason: str, now: float) -> Candidate:
        """Messages of a channel will not be told any more; the others say so."""
        one = "Un aviso de" if count == 1 else f"{count} avisos de"
        return self._candidate(
            "avisos_abandonados",
            Severity.ALTA,
            f"{one} {name} sin entregar",
            f"{redact_text(reason)}. Para verlos: ./scripts/alerts.sh notifications list --status "
            "dead; para enviarlos otra vez: ./scripts/alerts.sh notifications retry --all",
            {"canal": name},
            now,
            but=name,
        )

    def _time(self, timestamp: float) -> str:
        return self._formats.to_the_second(self._formats.local(timestamp))

    def _candidate(
        self,
        rule: str,
        severity: Severity,
        title: str,
        message: str,
        details: Mapping[str, object],
        now: float,
        but: str | None = None,
    ) -> Candidate:
        """Words an alert, for all channels that it is routed to but one."""
        data = {"tipo": rule, "plugin": "alert_manager", **details}
        targets = self._router.targets(severity, rule, CHANNEL, data)
        return Candidate(
            source=OWN_SOURCE,
            event_id=None,
            channel=CHANNEL,
            rule=rule,
            severity=severity,
            words=Said(title, message),
            event_data=data,
            timestamp=now,
            instance_id=self._instance,
            fingerprint=fingerprint(rule, severity, data, None),
            window=_WINDOW,
            targets=tuple(name for name in targets if name != but),
        )
