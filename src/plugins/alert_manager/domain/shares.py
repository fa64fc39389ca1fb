"""Which channels can be judged apart from others, and how they are shared out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .rule_spec import RuleSpec


def independent(channels: Iterable[str], specs: Iterable[RuleSpec]) -> list[frozenset[str]]:
    """Returns groups of channels that no rule looks at together."""
    groups = [frozenset((channel,)) for channel in channels]
    for spec in specs:
        together = [group for group in groups if not group.isdisjoint(spec.channels)]
        if len(together) > 1:
            groups = [group for group in groups if group not in together]
            groups.append(frozenset().union(*together))
    return groups


def shared_out(
    groups: Iterable[frozenset[str]], rows: Mapping[str, int], count: int
) -> list[frozenset[str]]:
    """Returns at most `count` shares of about the same number of rows; none is empty."""
    shares: list[frozenset[str]] = [frozenset()] * count
    sizes = [0] * count
    weights = {group: sum(rows.get(channel, 0) for channel in group) for group in groups}
    for group in sorted(weights, key=lambda group: (-weights[group], sorted(group))):
        lightest = sizes.index(min(sizes))
        shares[lightest] |= group
        sizes[lightest] += weights[group]
    return [share for share in shares if share]
