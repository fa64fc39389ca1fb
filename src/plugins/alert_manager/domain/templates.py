"""Jinja2 templates, compiled to what turns an event's values into text.

Nearly all of them are text, fields and filters: those are joined here, by Jinja2's own parser and
filters, but without its machinery, which takes longer. The others are left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, nodes

Fill = Callable[[dict[str, Any]], str]
"""Makes text of values by their names."""

_Piece = Callable[[Mapping[str, Any]], str]
_SPECIAL = ("self", "super", "caller", "loop")  # names that mean something to Jinja2


class _NotPlainError(Exception):
    """It has something that is left to Jinja2."""


def compile_template(environment: Environment, source: str) -> Fill:
    """Compiles a template of an environment without globals.

    Raises:
        jinja2.TemplateError: it cannot be read.
    """
    template = environment.from_string(source)
    try:
        pieces = _pieces(environment, environment.parse(source).body)
    except _NotPlainError:

        def fill(values: dict[str, Any]) -> str:
            # As `template.render`, which copies the values and looks for globals: there are none.
            context = template.new_context(values, shared=True)
            return "".join(template.root_render_func(context))

        return fill
    return lambda values: "".join([piece(values) for piece in pieces])


def _pieces(environment: Environment, body: Sequence[nodes.Node]) -> list[_Piece]:
    found: list[_Piece] = []
    for node in body:
        if not isinstance(node, nodes.Output):
            raise _NotPlainError
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                found.append(_text(part.data))
            else:
                found.append(_shown(environment, _value(environment, part)))
    return found


def _text(data: str) -> _Piece:
    return lambda values: data


def _shown(environment: Environment, value: Callable[[Mapping[str, Any]], Any]) -> _Piece:
    finalize: Callable[..., Any] = environment.finalize or str
    return lambda values: str(finalize(value(values)))


def _value(environment: Environment, node: nodes.Node) -> Callable[[Mapping[str, Any]], Any]:
    if isinstance(node, nodes.Name) and node.name not in _SPECIAL:
        name, undefined, missing = node.name, environment.undefined, object()

        def field(values: Mapping[str, Any]) -> Any:
            value = values.get(name, missing)
            return undefined(name=name) if value is missing else value

        return field
    if isinstance(node, nodes.Filter) and node.node is not None and not _arguments(node):
        apply = environment.filters.get(node.name)
        if apply is not None and not hasattr(apply, "jinja_pass_arg"):
            inner = _value(environment, node.node)
            return lambda values: apply(inner(values))
    raise _NotPlainError


def _arguments(node: nodes.Filter) -> bool:
    return bool(node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
