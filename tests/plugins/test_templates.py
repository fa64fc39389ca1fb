"""Plain templates say what Jinja2 makes of them, and the others are left to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError

from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.domain.render import environment_of
from src.plugins.alert_manager.domain.templates import Given, compile_template
from tests.plugins.hostile import VALUES as HOSTILE
from tests.support.pace import times_as_long
from tests.support.secret_cases import TEXTS

ENVIRONMENT = environment_of(Formats())


@dataclass(frozen=True)
class Told:
    data: dict[str, Any]


def ours(source: str, values: dict[str, Any]) -> str:
    """Fills a template with the same values: some of them are fields, and one is given."""
    fields = {name: value for name, value in values.items() if name != "valor"}
    given: Given = {"valor": lambda told: values["valor"]} if "valor" in values else {}
    return compile_template(ENVIRONMENT, source, given)(Told(fields))


PLAIN = [
    "",
    "Nada que poner",
    "{{ plugin }}",
    "  {{ plugin }}: {{ valor|dinero }}\n de {{ no_existe }}  ",
    "{{ valor|absoluto|dinero }} ({{ valor|numero }}, {{ valor|porcentaje }})",
    "{{ lista|length }} {{ lista|first }} {{ texto|upper|trim }} {{ nada }} {{ nada|default }}",
    "{# un comentario #}{{ texto }}{{- plugin -}} {{ valor }}",
]
OTHERS = [
    "{{ evento.plugin }}",
    "{{ lista[0].nombre }}",
    "{% if valor > 3 %}mucho{% else %}poco{% endif %}",
    "{{ valor * 2 }} {{ plugin ~ 'x' }}",
    "{% for x in lista %}{{ loop.index }} {{ x }}{% endfor %}",
    "{{ texto|truncate(3) }} {{ texto|default('x') }}",
    "{{ 'fijo' }} {{ 3 }} {{ none }}",
    "{% set valor = 7 %}{{ valor }}",
    "{{ self }} {{ lista|map(attribute='nombre')|join(', ') }}",
]
ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)


def by_jinja(source: str, values: dict[str, Any]) -> str:
    return ENVIRONMENT.from_string(source).render(values)


def outcome(fill: Any, source: str, values: dict[str, Any]) -> str:
    try:
        return str(fill(source, values))
    except TemplateError as error:
        return f"{type(error).__name__}: {error}"


@given(
    st.sampled_from(PLAIN + OTHERS),
    st.fixed_dictionaries(
        {"plugin": ANY, "valor": ANY, "texto": ANY},
        optional={"lista": st.lists(ANY, max_size=4), "nada": st.none(), "evento": st.just({})},
    ),
)
def test_as_jinja_does(source: str, values: dict[str, Any]) -> None:
    try:
        expected = outcome(by_jinja, source, values)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is to be the same)
        with pytest.raises(type(error)):
            ours(source, values)
        return
    assert outcome(ours, source, values) == expected


@pytest.mark.parametrize("text", [*TEXTS, *HOSTILE.values()])
def test_texts_that_harm_are_cleaned_as_by_jinja(text: str) -> None:
    source = "{{ texto }} de {{ plugin|upper }}"
    values = {"texto": text, "plugin": "p"}
    assert ours(source, values) == by_jinja(source, values)


@pytest.mark.parametrize("source", ["{{ valor }} de 100 %", "{{ evento.valor }} %s {{ valor }}"])
def test_what_is_given_goes_before_fields(source: str) -> None:
    fill = compile_template(ENVIRONMENT, source, {"valor": lambda told: told.data["valor"] + 1})
    assert fill(Told({"valor": 1, "evento": {"valor": 1}})) == by_jinja(
        source, {"valor": 2, "evento": {"valor": 1}}
    )


def test_plain_ones_are_quicker() -> None:
    source = "Pérdida de {{ valor }} en {{ plugin }}, exchange {{ texto }}"
    values = {"valor": "1", "plugin": "p", "texto": "t"}
    fill, template = compile_template(ENVIRONMENT, source, {}), ENVIRONMENT.from_string(source)

    def fills(call: Any, told: Any) -> None:
        for _ in range(200):
            call(told)

    theirs, plain = lambda: fills(template.render, values), lambda: fills(fill, Told(values))
    assert times_as_long(theirs, plain) > 1.2  # 3
