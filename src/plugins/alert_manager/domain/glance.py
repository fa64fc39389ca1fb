"""Finds by one or two numbers of an event that no rule finds anything in it.

Nearly all events come to nothing, and most of these by a number that is within every limit: what
else is in them need not be read. A typed parse skips it in half the time of a whole one, and the
rules are not asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec

from .expression import OPERATION
from .paths import Path
from .rule_spec import RISING, RuleSpec

Glance = Callable[[bytes], bool]
"""Says whether JSON in ASCII comes to nothing; False: it may come to something, or be invalid."""

_UNNAMEABLE = re.compile(r'[\x00-\x1f"\\]')  # what no field of a typed parser is called by
_MOST = math.nextafter(math.inf, 0.0)


class _Quiet(NamedTuple):
    """Numbers, from `lo` to `hi`, with which a rule finds nothing, whatever else an event says."""

    field: str
    lo: float
    hi: float


def compile_glances(
    rules: Iterable[RuleSpec], thresholds: Mapping[str, float], but: Container[str]
) -> dict[str, Glance]:
    """Compiles a glance for each channel where there can be one; for none of `but`.

    Raises:
        KeyError: a rule names a threshold that does not exist.
    """
    by_channel: dict[str, list[_Quiet | None]] = {}
    for spec in rules:
        quiet = _quiet(spec, thresholds)
        for channel in spec.channels:
            if channel not in but:
                by_channel.setdefault(channel, []).append(quiet)
    return {
        channel: _glance(spans)
        for channel, found in by_channel.items()
        if (spans := _common(found)) is not None
    }


def _quiet(spec: RuleSpec, thresholds: Mapping[str, float]) -> _Quiet | None:
    if spec.comparisons:
        # The first that is asked: before a later one, another may find a value that is no number.
        first = spec.comparisons[0]
        return _within(first.path, first.operation, [float(first.operand)])
    measure = spec.measure
    if measure is None or measure.path is None or spec.remembers:
        return None
    if any(condition.operation == OPERATION for condition in spec.when):
        return None  # it may find a number that is none, which is told, too
    limits = [limit.resolve(thresholds) for _, limit in measure.levels]
    return _within(measure.path, measure.comparison, limits, measure.absolute)


def _within(
    path: Path, comparison: str, limits: Sequence[float], absolute: bool = False
) -> _Quiet | None:
    """Returns the numbers of a field that reach none of the limits, if they are one span."""
    if len(path) > 1 or _UNNAMEABLE.search(path[0]):
        return None
    if comparison in RISING:
        least = min(limits)
        hi = least if comparison == ">" else math.nextafter(least, -math.inf)
        return _Quiet(path[0], -hi if absolute else -_MOST, hi)
    if absolute:
        return None
    most = max(limits)
    return _Quiet(path[0], most if comparison == "<" else math.nextafter(most, math.inf), _MOST)


def _common(found: Iterable[_Quiet | None]) -> dict[str, tuple[float, float]] | None:
    """Returns the numbers of each field with which none of several rules finds anything."""
    spans: dict[str, tuple[float, float]] = {}
    for quiet in found:
        if quiet is None:
            return None
        lo, hi = spans.get(quiet.field, (-_MOST, _MOST))
        spans[quiet.field] = max(lo, quiet.lo), min(hi, quiet.hi)
    return spans if all(lo <= hi for lo, hi in spans.values()) else None


def _glance(spans: Mapping[str, tuple[float, float]]) -> Glance:
    fields = [
        (f"f{number}", Annotated[float, msgspec.Meta(ge=lo, le=hi)], msgspec.field(name=name))
        for number, (name, (lo, hi)) in enumerate(spans.items())
    ]
    decode = msgspec.json.Decoder(msgspec.defstruct("Glance", fields, gc=False)).decode

    def is_nothing(text: bytes) -> bool:
        try:
            decode(text)
        except msgspec.MsgspecError:
            return False
        return True

    return is_nothing
