"""Places for the clients of a listener: so many in all, so many for one source, so many whose TLS handshake is under way.

Owns who is let in when places are short. A source is an IPv4 address or an IPv6 /64: whoever has one address of such a network has
them all. Opens no socket. Belongs to one event loop.
"""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

TOTAL, SOURCE, HANDSHAKES = "total", "source", "handshakes"
"""Why a connection is refused, as counted and told."""
_NETWORK_BITS = 64

_Handshake = TypeVar("_Handshake")


def source_of(address: str) -> str:
    """What connections of an address are counted under; the text itself where it is no address (`local`)."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), _NETWORK_BITS), strict=False))


class Places:
    """Connections by source. most: in all; per_source: of one source, 0 for no such limit."""

    __slots__ = ("_held", "_per_source", "most", "taken")

    def __init__(self, most: int, per_source: int = 0) -> None:
        self.most = most
        self.taken = 0
        self._per_source = per_source
        self._held: dict[str, int] = {}

    def take(self, source: str) -> str | None:
        """Count a connection in. Returns why it is refused (TOTAL, SOURCE) and counts nothing then; None when it is not."""
        held = self._held.get(source, 0)
        # First: whoever has too many is told so, whoever else is there.
        if self._per_source and held >= self._per_source:
            return SOURCE
        if self.taken >= self.most:
            return TOTAL
        self._held[source] = held + 1
        self.taken += 1
        return None

    def give_back(self, source: str) -> None:
        """Count a connection out."""
        left = self._held[source] - 1
        self.taken -= 1
        if left:
            self._held[source] = left
        else:
            # What is remembered is bounded by what is connected.
            del self._held[source]

    @property
    def sources(self) -> int:
        """Sources that hold a place."""
        return len(self._held)


class HandshakePlaces(Generic[_Handshake]):
    """Handshakes that are under way. most: at once. patience: seconds after which one gives way to whoever comes.

    When all places are taken, the oldest of the source that holds most gives way to a source that holds less, so that nobody keeps
    others out by beginning many; between equals the oldest of all gives way once it has had `patience`. Every step takes the same
    few microseconds, however many there are: whoever floods the places must not make refusing them dear.
    """

    __slots__ = ("_began", "_by_source", "_heaviest", "_most", "_patience", "_ranks")

    def __init__(self, most: int, patience: float) -> None:
        self._most = most
        self._patience = patience
        # Both in the order in which they began; the second only says whose they are.
        self._began: dict[_Handshake, tuple[str, float]] = {}
        self._by_source: dict[str, dict[_Handshake, None]] = {}
        # Sources by how many they hold; `_heaviest` is the last rank that has any.
        self._ranks: list[dict[str, None]] = [{}]
        self._heaviest = 0

    @property
    def taken(self) -> int:
        """Under way now."""
        return len(self._began)

    def begin(self, handshake: _Handshake, source: str, now: float) -> None:
        """Count one in; `make_room` has found its place."""
        self._began[handshake] = (source, now)
        ours = self._by_source.setdefault(source, {})
        ours[handshake] = None
        self._rank(source, len(ours) - 1, len(ours))

    def end(self, handshake: _Handshake) -> None:
        """Count one out, however it ended. Does nothing when it is out already."""
        known = self._began.pop(handshake, None)
        if known is None:
            return
        source = known[0]
        ours = self._by_source[source]
        del ours[handshake]
        self._rank(source, len(ours) + 1, len(ours))
        if not ours:
            del self._by_source[source]

    def _rank(self, source: str, before: int, after: int) -> None:
        ranks = self._ranks
        if after == len(ranks):
            ranks.append({})
        if before:
            del ranks[before][source]
        if after:
            ranks[after][source] = None
        self._heaviest = max(self._heaviest, after)
        if not ranks[self._heaviest] and self._heaviest:
            self._heaviest -= 1

    def make_room(self, source: str, now: float) -> tuple[bool, _Handshake | None]:
        """Whether `source` may begin one more, and which handshake has to be ended for it (it is counted out here)."""
        if len(self._began) < self._most:
            return True, None
        if self._heaviest > len(self._by_source.get(source, ())) + 1:
            loser = next(iter(self._by_source[next(iter(self._ranks[self._heaviest]))]))
        else:
            loser = next(iter(self._began))
            if now - self._began[loser][1] < self._patience:
                return False, None
        self.end(loser)
        return True, loser
