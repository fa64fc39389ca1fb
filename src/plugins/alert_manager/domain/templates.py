"""Jinja2 templates, compiled to what turns an event's values into text.

Nearly all of them are text, fields and filters: those are joined here, by Jinja2's own parser and
filters, but without its machinery, which takes longer. The others are left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from jinja2 import Environment, nodes
from jinja2.meta import find_undeclared_variables


class Told(Protocol):
    """What a template tells."""

    @property
    def data(self) -> Mapping[str, Any]:
        """Fields by their names."""
        ...


Given = Mapping[str, Callable[[Any], Any]]
"""Names that mean the same in every template, and what each is of what is told."""

Fill = Callable[[Any], str]
"""Makes text of what is told."""

_Value = Callable[[Any], Any]
_SPECIAL = ("self", "super", "caller", "loop")  # names that mean something to Jinja2


class _NotPlainError(Exception):
    """It has something that is left to Jinja2."""


def compile_template(environment: Environment, source: str, given: Given) -> Fill:
    """Compiles a template of an environment without globals, whose `finalize` makes text.

    `given` goes before the fields of what is told.

    Raises:
        jinja2.TemplateError: it cannot be read.
    """
    tree = environment.parse(source)
    try:
        form, values = _parts(environment, tree.body, given)
    except _NotPlainError:
        template = environment.from_string(source)
        used = find_undeclared_variables(tree) & given.keys()

        def fill(told: Told) -> str:
            known = {**told.data, **{name: given[name](told) for name in used}}
            # As `template.render`, which copies the values and looks for globals: there are none.
            context = template.new_context(known, shared=True)
            return "".join(template.root_render_func(context))

        return fill
    shown: Callable[..., str] = environment.finalize or str
    return lambda told: form % tuple([shown(value(told)) for value in values])


def _parts(
    environment: Environment, body: Sequence[nodes.Node], given: Given
) -> tuple[str, list[_Value]]:
    """Returns the text with a `%s` for each value in it, and the values."""
    form, values = "", []
    for node in body:
        if not isinstance(node, nodes.Output):
            raise _NotPlainError
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                form += part.data.replace("%", "%%")
            else:
                form += "%s"
                values.append(_value(environment, part, given))
    return form, values


def _value(environment: Environment, node: nodes.Node, given: Given) -> _Value:
    if isinstance(node, nodes.Name) and node.name not in _SPECIAL:
        return given.get(node.name) or _field(environment, node.name)
    if isinstance(node, nodes.Filter) and node.node is not None and not _arguments(node):
        apply = environment.filters.get(node.name)
        if apply is not None and not hasattr(apply, "jinja_pass_arg"):
            inner = _value(environment, node.node, given)
            return lambda told: apply(inner(told))
    raise _NotPlainError


def _field(environment: Environment, name: str) -> _Value:
    undefined, missing = environment.undefined, object()

    def field(told: Told) -> Any:
        value = told.data.get(name, missing)
        return undefined(name=name) if value is missing else value

    return field


def _arguments(node: nodes.Filter) -> bool:
    return bool(node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
