"""A record and a vault in memory that keep the contracts of `app.ports`, and an instance made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.app.ports import Instance
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.signing import FileSigner, seal, unseal
from safeconduct.record.envelope import open_entry
from safeconduct.record.events import Event, decode, encode
from safeconduct.record.state import State


class MemoryRecord:
    """Appends encoded events to a list; folds what it reads back from the bytes, as the real one does."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.entries: list[bytes] = []
        self._clock = clock
        self._state = State.empty()
        self._subscribers: list[Callable[[State, Sequence[Event]], None]] = []
        self.before_commit: Callable[[], None] | None = None
        """Runs once before the next commit: what another writer does in between."""

    @property
    def state(self) -> State:
        return self._state

    def commit(self, events: Sequence[Event], *, expect: int | None = None) -> int:
        between, self.before_commit = self.before_commit, None
        if between is not None:
            between()
        if expect is not None and expect != self._state.position:
            raise Conflict(f"the record is at {self._state.position}, not at {expect}")
        state = self._state
        for event in events:
            body = encode(event)
            position = len(self.entries) + 1
            self.entries.append(
                open_entry(
                    body,
                    uid=f"entry-{position}",
                    seq=position - 1,
                    time_ms=int(self._clock.now() * 1000),
                    type=type(event).__struct_config__.tag,
                )
            )
            state = state.apply(decode(body), position)
        self._state = state
        for subscriber in self._subscribers:
            subscriber(state, events)
        return state.position

    def current_at(self, now: float) -> float:
        return now

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        self._subscribers.append(callback)


class MemoryVault:
    """Documents sealed under a key per subject; forgetting the key makes them unreadable."""

    def __init__(self) -> None:
        self._keys: dict[str, AESGCM] = {}
        self._forgotten: set[str] = set()
        self._documents: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.erasures = 0

    def aead(self, subject: str, *, create: bool = False) -> AESGCM:
        if subject not in self._keys:
            if not create or subject in self._forgotten:
                raise NotFound(f"there is no data key of {subject!r}")
            self._keys[subject] = AESGCM(hashlib.sha256(subject.encode()).digest())
        return self._keys[subject]

    def put(self, kind: str, name: str, subject: str, plaintext: bytes) -> None:
        sealed = seal(self.aead(subject, create=True), plaintext, f"{kind}/{name}".encode())
        self._documents[kind, name] = (subject, sealed)

    def get(self, kind: str, name: str) -> bytes | None:
        stored = self._documents.get((kind, name))
        if stored is None or stored[0] not in self._keys:
            return None
        return unseal(self._keys[stored[0]], stored[1], f"{kind}/{name}".encode())

    def names(self, kind: str) -> list[str]:
        return sorted(name for stored_kind, name in self._documents if stored_kind == kind)

    def marks(self, kind: str) -> dict[str, bytes]:
        return {
            name: stored[1][:28]
            for (stored_kind, name), stored in sorted(self._documents.items())
            if stored_kind == kind
        }

    def delete(self, kind: str, name: str) -> None:
        self._documents.pop((kind, name), None)

    def forget(self, subject: str) -> None:
        self._keys.pop(subject, None)
        self._forgotten.add(subject)
        self.erasures += 1


class FixedKeys:
    """The instance's signing keys, made once."""

    def __init__(self) -> None:
        self._signers: dict[str, FileSigner] = {}

    def signer(self, name: str) -> FileSigner:
        return self._signers.setdefault(name, FileSigner.generate(kid=name))


def counting_random() -> Callable[[int], bytes]:
    """Bytes that never repeat and are the same in every run."""
    count = 0

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(count.to_bytes(8, "big")).digest(size)

    return random


def memory_instance(start: int, *, profile: str = "development", events: Sequence[Event] = ()) -> Instance:
    """An instance whose record holds `events`, at simulated time `start` (seconds)."""
    clock = SimulatedClock(start)
    record = MemoryRecord(clock)
    if events:
        record.commit(events)
    return Instance(
        clock=clock,
        random=counting_random(),
        record=record,
        vault=MemoryVault(),
        keys=FixedKeys(),
        issuer="http://127.0.0.1:8781",
        audience="http://127.0.0.1:8780",
        profile=profile,
    )


def move_to(instance: Instance, at: int) -> None:
    """Set the instance's simulated clock."""
    clock: Any = instance.clock
    clock.move_to(at)
