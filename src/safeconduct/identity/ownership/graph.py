"""The holdings of one day as a graph of numbers, laid out for the fixed point.

Owns the layout. Refuses to judge: what a sum means is a regime's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from safeconduct.identity.ownership.edge import EdgeKind, Holding
from safeconduct.identity.ownership.regime import Limb

_JOINT: Final = EdgeKind.JOINT_ARRANGEMENT
_CONTROL: Final = EdgeKind.CONTROL


class View:
    """The holdings of some kinds, by the nodes' numbers.

    out: by owner, (owned, least units, most units, whether under a joint arrangement). into: by owned, the same with the owner.
    total: by owned, the least that all owners together are known to hold. joint: by owned, what the parties of its joint
    arrangement hold together.
    adds_up: False where holdings are findings, of which the strongest counts, and not parts of a whole.
    """

    __slots__ = ("adds_up", "into", "joint", "out", "total")

    def __init__(self, size: int, *, adds_up: bool) -> None:
        self.out: dict[int, list[tuple[int, int, int, bool]]] = {}
        self.into: dict[int, list[tuple[int, int, int, bool]]] = {}
        self.total = [0] * size
        self.joint: dict[int, tuple[int, int]] = {}
        self.adds_up = adds_up


class Graph:
    """Holdings, indexed. An owner's holdings of itself do not count: nobody blocks itself, and they outvote nobody."""

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self.holdings = list(holdings)
        self.index: dict[str, int] = {}
        index = self.index
        for holding in self.holdings:
            if holding.owner not in index:
                index[holding.owner] = len(index)
            if holding.owned not in index:
                index[holding.owned] = len(index)
        self.names = list(index)
        self._views: dict[tuple[EdgeKind, ...], View] = {}
        self._into: dict[str, list[Holding]] | None = None

    def view(self, limb: Limb) -> View:
        """The holdings that a limb looks at."""
        known = self._views.get(limb.kinds)
        if known is None:
            known = self._views[limb.kinds] = self._make(limb.kinds)
        return known

    def _make(self, kinds: tuple[EdgeKind, ...]) -> View:
        view, index = View(len(self.names), adds_up=_CONTROL not in kinds), self.index
        out, into, total, joint = view.out, view.into, view.total, view.joint
        for holding in self.holdings:
            kind = holding.kind
            if kind not in kinds or holding.owner == holding.owned:
                continue
            owner, owned, share = index[holding.owner], index[holding.owned], holding.share
            together = kind is _JOINT
            if owner in out:
                out[owner].append((owned, share.low, share.high, together))
            else:
                out[owner] = [(owned, share.low, share.high, together)]
            if owned in into:
                into[owned].append((owner, share.low, share.high, together))
            else:
                into[owned] = [(owner, share.low, share.high, together)]
            total[owned] += share.low
            if together:
                low, high = joint.get(owned, (0, 0))
                joint[owned] = (low + share.low, high + share.high)
        return view

    def into(self, node: str) -> list[Holding]:
        """The holdings in a node, in their order."""
        if self._into is None:
            self._into = {}
            for holding in self.holdings:
                self._into.setdefault(holding.owned, []).append(holding)
        return self._into.get(node, [])
