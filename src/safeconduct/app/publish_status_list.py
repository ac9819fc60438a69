"""Use case: publish the status of every passport and mandate as signed Token Status Lists, built from the state.

Indexes are counted over the whole instance; list n holds a fixed span of them, so that an entry never moves. Entries not yet
given out read VALID, which says nothing: an index means something only in a passport that we signed.
"""

from __future__ import annotations

import threading

from safeconduct.app.ports import Instance
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.passport.status_list import pack, sign_status_list
from safeconduct.record.state import State

ENTRIES_PER_LIST = 1 << 17
LIFETIME = 3600
TTL = 60


def place_of(issuer: str, status_index: int) -> tuple[str, int]:
    """The list's uri and the index in it, for an index of the instance."""
    number, index = divmod(status_index, ENTRIES_PER_LIST)
    return f"{issuer}/status/{number}", index


def statuses(state: State, number: int) -> list[tuple[int, PassportStatus]]:
    """What list `number` says beside VALID. A mandate falls with its passport and with every mandate above it."""
    first = number * ENTRIES_PER_LIST
    found: list[tuple[int, PassportStatus]] = []
    for held in state.passports.values():
        place = held.issued.status_index - first
        if held.status is not PassportStatus.VALID and 0 <= place < ENTRIES_PER_LIST:
            found.append((place, held.status))
    for mandate in state.mandates.values():
        place = mandate.registered.status_index - first
        if 0 <= place < ENTRIES_PER_LIST:
            passport = state.passports.get(mandate.registered.passport)
            status = passport.status if passport is not None else PassportStatus.INVALID
            link, seen = mandate, 0
            while status is PassportStatus.VALID:
                seen += 1
                if link.revoked_at is not None or seen > 16:
                    status = PassportStatus.INVALID
                if link.registered.parent is None:
                    break
                above = state.mandates.get(link.registered.parent)
                if above is None:
                    status = PassportStatus.INVALID
                    break
                link = above
            if status is not PassportStatus.VALID:
                found.append((place, status))
    return found


class StatusListPublisher:
    """Signs lists on demand and keeps each until the state moves or half its `ttl` has passed."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._signed: dict[int, tuple[int, int, str]] = {}

    def publish(self, number: int) -> str:
        """List `number` as `application/statuslist+jwt`. Raises NotFound for a list no index lies in."""
        state = self._instance.record.state
        now = int(self._instance.clock.now())
        if not 0 <= number <= max(state.next_status_index - 1, 0) // ENTRIES_PER_LIST:
            raise NotFound(f"there is no status list {number}", field="number")
        with self._lock:
            kept = self._signed.get(number)
            if kept is not None and kept[0] == state.position and now - kept[1] < TTL // 2:
                return kept[2]
            uri, _ = place_of(self._instance.issuer, number * ENTRIES_PER_LIST)
            text = sign_status_list(
                pack(statuses(state, number), ENTRIES_PER_LIST),
                uri=uri,
                signer=self._instance.keys.signer("status"),
                now=now,
                lifetime=LIFETIME,
                ttl=TTL,
            )
            self._signed[number] = (state.position, now, text)
            return text
