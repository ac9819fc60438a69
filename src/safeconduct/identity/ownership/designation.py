"""Who is blocked directly: entries of lists, tied to nodes of the graph. Which entry is whom is decided elsewhere."""

from __future__ import annotations

import msgspec

from safeconduct.identity.ownership.regime import Regime


class Designation(msgspec.Struct, frozen=True, gc=False):
    """`node` is the entry `entry` of `list` at `version`. programmes: what the entry is listed under."""

    node: str
    list: str
    version: str
    entry: str
    programmes: tuple[str, ...] = ()


Designated = dict[str, tuple[Designation, ...]]
"""By node, the designations that a regime runs over, the most restrictive list first."""


def designated_under(regime: Regime, designations: tuple[Designation, ...]) -> Designated:
    """The designations that count under a regime.

    An entry without programmes, of a list that counts by programme, counts: what is not said is not a way out.
    """
    found: dict[str, list[tuple[int, Designation]]] = {}
    ranks = {one.list: (rank, frozenset(one.programmes)) for rank, one in enumerate(regime.lists)}
    for designation in designations:
        rank, programmes = ranks.get(designation.list, (-1, frozenset()))
        if rank < 0:
            continue
        if programmes and designation.programmes and programmes.isdisjoint(designation.programmes):
            continue
        found.setdefault(designation.node, []).append((rank, designation))
    return {
        node: tuple(
            one for _, one in sorted(held, key=lambda pair: (pair[0], pair[1].version, pair[1].entry))
        )
        for node, held in found.items()
    }
