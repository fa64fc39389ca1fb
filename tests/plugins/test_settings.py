"""alert_manager.yaml: the shipped one is valid, and every fault is named with its path."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.plugins.alert_manager.config_file import ConfigError, read_yaml
from src.plugins.alert_manager.retention_settings import forgettable
from src.plugins.alert_manager.settings import Loaded, ReaderSettings, check, load
from tests.plugins.conftest import PROJECT, SHIPPED_CONFIG, shipped_config

COMPARES = {"field": "v", "compare": ">="}
SECRET = "tOkEn-de-verdad"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The shipped configuration with one value replaced (or added)."""
    config = copy.deepcopy(shipped_config())
    *parents, last = path.split(".")
    node: Any = config
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[int(last) if isinstance(node, list) else last] = value
    return config


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"severity": "alta", "dedupe_window": "365d"}, "365d o más, por la ventana"),
        ({"count_within": "70d", "levels": {"alta": 3}}, "210d o más, por tres veces el count_wi"),
        (
            {**COMPARES, "change": "percent", "change_within": "200d", "levels": {"alta": 3}},
            "200d o más, por el change_within",
        ),
    ],
)
def test_what_a_rule_needs_is_kept_for_as_long(values: dict[str, Any], needed: str) -> None:
    config = changed("alert_config.rules.0", rule(**values))
    with pytest.raises(ConfigError, match=rf"se espera {needed}.* de alert_config.rules.0 \(r\)"):
        check(config)
    config["config"]["retention"] = "365d"
    check(config)


@pytest.mark.parametrize("written", ["off", False])
def test_the_retention_can_be_switched_off(written: Any) -> None:
    config = changed("config.retention", written)
    config["alert_config"]["dedupe"]["window"] = "3650d"
    assert check(config).settings.config.retention is None


def test_what_is_kept_and_what_rules_may_forget() -> None:
    settings = check(shipped_config()).settings
    assert settings.config.retention == 180 * 86400
    last = {"change": "percent", "field": "v", "compare": ">=", "levels": {"alta": 5}}
    config = changed("alert_config.rules.0", rule(**last))
    rules = forgettable(check(config).settings.alert_config.specs())
    assert "r" not in rules  # it compares with the last value, however old
    assert {"vix", "racha_de_perdidas", "caida_de_precio", "precio_parado"} <= set(rules)
    assert "retiro" not in rules  # it remembers nothing


def rule(**values: Any) -> dict[str, Any]:
    return {"name": "r", "channel": "alertas", "title": "t", "message": "m", **values}


AWAITS = {"severity": "alta", "absent_for": "5m"}
FAULTS: list[tuple[str, Any, str]] = [
    ("chanels", [], "chanels: clave desconocida; se permite: channels, config"),
    ("channels", [], "channels: .*vacío"),
    ("channels", "alertas", "channels: se encontró 'alertas'; se espera una lista"),
    ("config.circuit_breaker.max_failures", "x", "config.circuit_breaker.max_failures: se enc"),
    ("config.circuit_breaker.max_failures", 0, "se encontró 0; se espera un número desde 1"),
    ("config.circuit_breaker.max_failure", 1, "se permite: max_failures, reset_timeout"),
    ("config.circuit_breaker.reset_timeout", "10 años", "se espera una duración"),
    ("config.reader.start_from", "ayer", "config.reader.start_from: .*beginning, now"),
    ("config.reader.batch_size", 1.5, "se espera un número entero"),
    ("config.retention", "medio año", "config.retention: se encontró 'medio año'; .*180d, u off"),
    ("config.retention", True, "se encontró True; se espera una duración como 180d, u off"),
    ("config.retention", "1h", "se encontró 1h; se espera 1d o más, u off"),
    ("config.retention", "0", "se encontró 0s; se espera 1d o más, u off"),
    (
        "config.reader.max_event_age",
        "200d",
        "config.retention: se encontró 180d; se espera 200d o más, por config.reader.max_event_age",
    ),
    ("config.delivery", {"max_age": "181d"}, "se espera 181d o más, por config.delivery.max_age"),
    ("config.limits.max_depth", 10**6, "se espera un número hasta 500"),
    ("alert_config.timezone", "Marte/Olympus", "alert_config.timezone: .*America/Mexico_City"),
    ("alert_config.thresholds.vix", "alto", "alert_config.thresholds.vix: .*'alto'"),
    ("alert_config.thresholds.vix", float("nan"), "alert_config.thresholds.vix: .*finito"),
    ("alert_config.thresholds.vix", 50, "cada nivel más urgente lleva un límite mayor"),
    (
        "alert_config.rules.0",
        rule(severity="alta", words={"fax": {"title": "x"}}),
        "words.fax: no es de notification_channels; se permite: log, email, discord",
    ),
    ("alert_config.rules.0", rule(severity="alta", words={"log": {"title": "{{"}}), "plantilla"),
    ("alert_config.rules.0.words.log", rule(severity="alta", words={"log": {}}), "title, message"),
    (
        "alert_config.rules.0",
        rule(severity="alta", words={"log": {"asunto": "x"}}),
        "title, message",
    ),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": float("nan")}), "levels.alta"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": float("inf")}), "levels.alta"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {">": 10**400}}), "un número"),
    ("alert_config.rules.0", rule(severity="alta") | {"channel": []}, "rules.0.channel"),
    (
        "alert_config.rules.0",
        rule(
            severity="alta",
            absent_for="31d",
            active={"weekdays": "lun", "hours": "10:00-10:01"},
        ),
        "tardaría 44640 semanas; se permiten 53",
    ),
    ("alert_config.format", {"locale": "klingon"}, "locale: .*es_MX, es_ES o en_US"),
    ("alert_config.format", {"date": "%d/%m/%Y"}, "format.date: .*como dd/MM/yyyy"),
    ("alert_config.format", {"currency": ""}, "format.currency: "),
    ("alert_config.dedupe.window", -1, "alert_config.dedupe.window: .*desde 0"),
    ("alert_config.rules.0.severity", "grave", "critica, alta, media, baja"),
    ("alert_config.rules.0.channel", "otro", "el canal 'otro' no se vigila"),
    ("alert_config.rules.1.name", "circuit_breaker", "está dos veces"),
    ("alert_config.rules.0.color", "rojo", "alert_config.rules.0.color: clave desconocida"),
    ("alert_config.rules.0", rule(), "o bien severity, o bien field"),
    ("alert_config.rules.0", rule(severity="alta", **COMPARES, levels={"alta": 1}), "o bien"),
    ("alert_config.rules.0", rule(field="v", levels={"alta": 1}), "los tres"),
    (
        "alert_config.rules.0",
        rule(**COMPARES, levels={"alta": 20}, clear=18, dedupe_by=["plugin"]),
        "es per, sin dedupe_by",
    ),
    ("alert_config.rules.0", rule(severity="alta", absolute=True), "absolute y change solo valen"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": "vex"}), "no existe el umbral 'vex'"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": "1 % de vix"}), "un umbral o"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"urgente": 1}), "critica, alta"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 2, "critica": 1}), "límite mayor"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {"like": 1}}), "se permite: eq"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {"matches": "("}}), "regular"),
    ("alert_config.rules.0", rule(severity="alta", expression="a >"), "expresión inválida"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {"in": []}}), "lista con valores"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": []}), "lista con valores"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {}}), "una condición"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": None}), "exists: false"),
    (
        "alert_config.rules.0",
        rule(**COMPARES, levels={"critica": 5, "crítica": 1}),
        "está dos veces",
    ),
    (
        "alert_config.rules.0",
        rule(count_within="10m", levels={"alta": 5}, clear=1),
        "así no acaba nunca",
    ),
    (
        "alert_config.rules.0",
        rule(**COMPARES, absolute=True, levels={"alta": 5}, clear=0),
        "así no acaba nunca",
    ),
    ("alert_config.format.time", "HHH:mm", "demasiadas letras"),
    ("alert_config.format.time", "h:mm", "una hora como HH:mm"),
    ("alert_config.rules.0", rule(severity="alta", when={"a": {">": "x"}}), "espera un número"),
    ("alert_config.rules.0", rule(severity="alta", when={"a..b": 1}), "campo como"),
    ("alert_config.rules.0", rule(severity="alta", title="{{ x"), "plantilla inválida"),
    ("alert_config.rules.0", rule(field="v", count_within="10m", levels={"alta": 5}), "no los dos"),
    ("alert_config.rules.0", rule(count_within="0s", levels={"alta": 5}), "más de 0 segundos"),
    ("alert_config.rules.0", rule(count_within="10m", levels={"alta": 5000}), "hasta 1000"),
    ("alert_config.rules.0", rule(count_within="10m"), "count_within y levels"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, change="mucho"), "percent"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, change_within="1m"), "a change"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, per=["a"]), "per solo vale"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, recovery="x"), "junto a clear"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, clear=2), "no puede ser mayor"),
    ("alert_config.rules.0", rule(**COMPARES, levels={"alta": 1}, clear="vex"), "'vex'"),
    ("alert_config.rules.0", rule(severity="alta", clear=2), "clear solo vale junto a levels"),
    ("alert_config.rules.0", rule(severity="alta", message="{{ x | euros }}"), "euros"),
    ("alert_config.rules.0", rule(absent_for="5m"), "bien severity"),
    ("alert_config.rules.0", rule(**AWAITS, absent_by="00:30"), "no los dos"),
    ("alert_config.rules.0", rule(**AWAITS, dedupe_by=["a"]), "sin dedupe_by"),
    ("alert_config.rules.0", rule(**AWAITS, absent_within="1h"), "junto a absent_by"),
    ("alert_config.rules.0", rule(severity="alta", absent_for=0), "hasta 31d"),
    ("alert_config.rules.0", rule(severity="alta", absent_for="32d"), "hasta 31d"),
    ("alert_config.rules.0", rule(severity="alta", active={}), "junto a absent_for o absent_by"),
    ("alert_config.rules.0", rule(severity="alta", absent_by="24:30"), "0.absent_by: .*como 08:30"),
    (
        "alert_config.rules.0",
        rule(severity="alta", absent_by="00:30", active={"hours": "08:00-09:00"}),
        "sin hours",
    ),
    (
        "alert_config.rules.0",
        rule(**AWAITS, active={"weekdays": "lum"}),
        "0.active.weekdays: .*lun-vie",
    ),
    ("alert_config.rules.0", rule(**AWAITS, active={"weekdays": []}), "0.active.weekdays: .*vacío"),
    (
        "alert_config.rules.0",
        rule(**AWAITS, active={"hours": "8-9"}),
        "0.active.hours: .*como 08:30",
    ),
    (
        "alert_config.rules.0",
        rule(**AWAITS, active={"timezone": "x"}),
        "0.active.timezone: .*zona hor",
    ),
    ("alert_config.rules.0", rule(**AWAITS, active={"dias": "lun"}), "0.active.dias: .*weekdays"),
    ("notification_channels", ["log", "palomas"], "notification_channels: .*palomas.*log, email"),
    ("notification_channels", ["log", "log"], "está dos veces"),
    ("notification_config.log.min_severity", "x", "notification_config.log.min_severity"),
    ("notification_config.email.smtp_port", 99999, "notification_config.email.smtp_port: .*65535"),
    ("notification_config.email.enabled", "quizá", "se espera true o false"),
    ("notification_config.email.tls", "ssl3", "notification_config.email.tls: .*starttls"),
    (
        "notification_config.discord",
        {"enabled": True, "webhook_url": f"http://ejemplo.com/api/webhooks/1/{SECRET}"},
        "notification_config.discord",
    ),
    ("db_config.port", 0, "db_config.port: se encontró 0"),
    ("db_config.dsn", "postgresql://x", "o bien dsn, o bien host"),
    ("db_config.host", "${NO_EXISTE_ESTA}", "db_config.host: la variable NO_EXISTE_ESTA"),
    ("db_config.password", "file:/no/existe", "db_config.password: no se puede leer el secreto"),
]


@pytest.mark.parametrize("name", ["rules.md", "rules.en.md"])
def test_every_example_of_the_documents_is_valid(name: str) -> None:
    blocks = documented(name)
    config = shipped_config()
    settings = config["alert_config"]
    settings["rules"] = [rule for block in blocks if isinstance(block, list) for rule in block]
    for block in blocks:
        settings |= block if isinstance(block, dict) else {}
    checked = check(config).settings.alert_config
    assert (len(checked.rules), list(checked.context)) == (9, ["usuario"])
    assert blocks == documented("rules.md")


def documented(name: str) -> list[Any]:
    """The YAML of a document, each block as it is read."""
    text = (PROJECT / "docs" / name).read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_the_shipped_configuration_is_valid_and_sends_nothing_outside() -> None:
    loaded = check(shipped_config())
    assert list(loaded.channels) == ["log", "alert_data", "alert_data_stream"]
    assert loaded.settings.alert_config.timezone == "America/Mexico_City"


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_refused_with_its_path(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check(changed(path, value))
    assert SECRET not in str(caught.value)
    assert any(fault.path.startswith(path.split(".")[0]) for fault in caught.value.faults)


def test_all_faults_are_told_at_once() -> None:
    config = changed("config.reader.batch_size", 0)
    config["db_config"]["port"] = "x"
    config["extra"] = 1
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert len(caught.value.faults) == 3


def test_values_come_from_the_environment_and_from_secret_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "clave"
    secret.write_text("s3creto\n")
    monkeypatch.setenv("MI_HOST", "db.example")
    config = shipped_config()
    config["db_config"] = {
        "host": "${MI_HOST}",
        "port": "${MI_PUERTO:-6543}",
        "password": f"file:{secret}",
    }
    settings = check(config).settings
    assert settings.db_config.parameters() == {
        "host": "db.example",
        "port": 6543,
        "password": "s3creto",
    }
    assert "s3creto" not in repr(settings)


def _hosts(loaded: Loaded) -> str | None:
    return loaded.settings.db_config.host


def test_a_file_is_read_as_it_is_now_whatever_its_readers_did_with_it(tmp_path: Path) -> None:
    file = tmp_path / "alert_manager.yaml"
    for text in ("config: {reader: {batch_size: 5}}", "config: {reader: {batch_size: 6}}"):
        file.write_text(text, encoding="utf-8")
        read_yaml(file)["config"]["reader"].clear()
        assert read_yaml(file) == yaml.safe_load(text)


def test_another_file_by_environment_goes_before_what_the_host_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_DB_HOST", raising=False)
    assert _hosts(load(shipped_config())) == "alert_db"
    assert _hosts(load({"config_file": str(SHIPPED_CONFIG)})) == "alert_db"
    other = tmp_path / "otro.yaml"
    text = SHIPPED_CONFIG.read_text(encoding="utf-8")
    other.write_text(text.replace("${ALERT_DB_HOST:-alert_db}", "otra_maquina"), encoding="utf-8")
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(other))
    assert _hosts(load(shipped_config())) == "otra_maquina"
    other.write_text("channels: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"otro\.yaml.*\n.*no es YAML"):
        load({})
    with pytest.raises(ConfigError, match="no se puede leer"):
        read_yaml(tmp_path / "no-existe.yaml")


def test_a_page_stays_small_whatever_is_configured() -> None:
    assert ReaderSettings(batch_bytes=512 << 20).page_bytes == 32 << 20
    assert ReaderSettings(batch_bytes=1 << 20).page_bytes == 1 << 20
