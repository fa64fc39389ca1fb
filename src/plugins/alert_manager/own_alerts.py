"""Alerts about ourselves: what the alert manager itself has to tell people."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .candidates import OWN_SOURCE
from .domain.backlog import Backlog
from .domain.fingerprint import fingerprint
from .domain.formats import Formats, duration
from .domain.model import Payload, Severity
from .domain.outcome import Candidate, Resolution, Said
from .domain.redact import redact_text
from .domain.routing import Router
from .domain.troubles import LASTING

CHANNEL = "alert_data"
OWN_RULES: Mapping[str, tuple[Severity, ...]] = {
    "origen_vaciado": (Severity.ALTA,),
    "eventos_antiguos": tuple(Severity),
    "configuracion_rechazada": (Severity.ALTA,),
    "lectura_detenida": (Severity.ALTA, Severity.CRITICA),
    "lectura_retrasada": (Severity.ALTA,),
    "sin_base_de_alertas": (Severity.CRITICA,),
    "canal_caido": (Severity.ALTA,),
    "avisos_abandonados": (Severity.ALTA,),
}
"""The names of our own alerts, with the severities that they can have."""
_WINDOW = 3600.0  # seconds
_IDENTITY = ("origen", "canal")


class OwnAlerts:
    """Words our own troubles as alerts, ready to be stored like any other."""

    def __init__(
        self,
        router: Router,
        instance: str,
        formats: Formats,
        machines: Collection[str] = (),
        fallbacks: Mapping[str, str] | None = None,
    ) -> None:
        """`machines`: channels that no person reads. `fallbacks`: who stands in for a channel."""
        self._router = router
        self._formats = formats
        self._instance = instance
        self._machines = frozenset(machines)
        self._fallbacks = dict(fallbacks or {})

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

    def reading_again(self, source: str, severity: Severity, now: float) -> Resolution:
        """A source is read (again), whether or not `not_reading` was told."""
        text = f"Se leen de nuevo eventos de {source}. Se pone al día con lo que esperaba."
        return self._end("lectura_detenida", severity, {"origen": source}, text, now)

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

    def caught_up(self, source: str, now: float) -> Resolution:
        """The reader has caught up after `behind`."""
        text = f"Los eventos de {source} se leen al día."
        return self._end("lectura_retrasada", Severity.ALTA, {"origen": source}, text, now)

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

    def alert_db_back(self, since: float | None, now: float) -> Resolution:
        """alert_db works (again); `since` when it was away, where that is known."""
        away = "" if since is None else f" Estuvo fuera desde el {self._time(since)}."
        text = (
            f"La base de alertas (alert_db) responde de nuevo.{away} Se guarda lo que se avisó sin "
            "ella, sin avisar otra vez, y se avisa de lo que esperaba."
        )
        return self._end("sin_base_de_alertas", Severity.CRITICA, {}, text, now)

    def channel_down(self, name: str, reason: str, now: float) -> Candidate:
        """A notification channel cannot tell; the others say so."""
        fallback = self._fallbacks.get(name)
        waiting = (
            "Sus avisos esperan, y si no vuelve en un día se abandonan"
            if fallback is None
            else f"Lo urgente sale por {fallback}; lo demás espera, un día como mucho"
        )
        return self._candidate(
            "canal_caido",
            Severity.ALTA,
            f"No se puede avisar por {name}",
            f"{redact_text(reason)}. {waiting}. Para probarlo: ./scripts/alerts.sh test-notify "
            f"{name}",
            {"canal": name},
            now,
            but=name,
        )

    def channel_up(self, name: str, now: float) -> Resolution:
        """A notification channel works (again)."""
        text = f"Se avisa de nuevo por {name}. Lo que esperaba sale ahora."
        return self._end("canal_caido", Severity.ALTA, {"canal": name}, text, now)

    def given_up(
        self, name: str, count: int, reason: str, now: float, fallback: str | None = None
    ) -> Candidate:
        """Messages of a channel will not be told any more; the others say so."""
        one = "Un aviso de" if count == 1 else f"{count} avisos de"
        instead = "" if fallback is None else f" Lo urgente lo entrega {fallback}."
        return self._candidate(
            "avisos_abandonados",
            Severity.ALTA,
            f"{one} {name} sin entregar",
            f"{redact_text(reason)}.{instead} Para verlos: ./scripts/alerts.sh notifications list "
            "--status dead; para enviarlos otra vez: ./scripts/alerts.sh notifications retry --all",
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
            fingerprint=_fingerprint(rule, severity, details),
            window=_WINDOW,
            targets=self._targets(severity, rule, data, but),
        )

    def _end(
        self, rule: str, severity: Severity, about: Mapping[str, str], text: str, now: float
    ) -> Resolution:
        return Resolution((_fingerprint(rule, severity, about),), text, now, closes=True)

    def _targets(
        self, severity: Severity, rule: str, data: Payload, but: str | None
    ) -> tuple[str, ...]:
        """Returns who is told; where only a broken channel would tell people, others do."""
        told = [n for n in self._router.targets(severity, rule, CHANNEL, data) if n != but]
        if but is None or not self._machines.issuperset(told):
            return tuple(told)
        others = [n for n in self._router.admitting(severity) if n != but and n not in told]
        fallback = self._fallbacks.get(but)
        return (*told, *([fallback] if fallback in others else others))


def _fingerprint(rule: str, severity: Severity, details: Mapping[str, object]) -> bytes:
    """Returns what recognises a trouble; of one that lasts, since when and why do not count."""
    about = {
        name: value for name, value in details.items() if rule not in LASTING or name in _IDENTITY
    }
    return fingerprint(rule, severity, {"tipo": rule, "plugin": "alert_manager", **about}, None)
