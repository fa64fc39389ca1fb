"""Plain templates say what Jinja2 makes of them, and the others are left to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError

from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.domain.render import environment_of
from src.plugins.alert_manager.domain.templates import compile_template
from tests.plugins.hostile import VALUES as HOSTILE
from tests.support.pace import times_as_long
from tests.support.secret_cases import TEXTS

ENVIRONMENT = environment_of(Formats())
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


def outcome(fill: Any, values: dict[str, Any]) -> str:
    try:
        return str(fill(values))
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
    def jinjas(values: dict[str, Any]) -> str:
        return by_jinja(source, values)

    def ours(values: dict[str, Any]) -> str:
        return compile_template(ENVIRONMENT, source)(values)

    try:
        expected = outcome(jinjas, values)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is to be the same)
        with pytest.raises(type(error)):
            ours(values)
        return
    assert outcome(ours, values) == expected


@pytest.mark.parametrize("text", [*TEXTS, *HOSTILE.values()])
def test_texts_that_harm_are_cleaned_as_by_jinja(text: str) -> None:
    source = "{{ texto }} de {{ plugin|upper }}"
    values = {"texto": text, "plugin": "p"}
    assert compile_template(ENVIRONMENT, source)(values) == by_jinja(source, values)


def test_plain_ones_are_quicker() -> None:
    source = "Pérdida de {{ valor }} en {{ plugin }}, exchange {{ texto }}"
    values = {"valor": "1", "plugin": "p", "texto": "t"}
    fill, template = compile_template(ENVIRONMENT, source), ENVIRONMENT.from_string(source)

    def fills(call: Any) -> None:
        for _ in range(200):
            call(values)

    assert times_as_long(lambda: fills(template.render), lambda: fills(fill)) > 1.2  # 2.2
