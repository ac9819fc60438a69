"""Whether a network address lies in the list that a credential is bound to. Refuses what cannot be read."""

from __future__ import annotations

import ipaddress

MAX_KNOWN = 10_000


class SourceNetworks:
    """Answers, remembered: the same callers come from the same places."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, ...], str], bool] = {}

    def permit(self, networks: tuple[str, ...], source: str) -> bool:
        """True when `source` lies in one of the networks, or there are none."""
        if not networks:
            return True
        asked = (networks, source)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) > MAX_KNOWN:
                self._known.clear()
            known = self._known[asked] = _lies_in(source, networks)
        return known


def _lies_in(source: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(source)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False
