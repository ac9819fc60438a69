"""Snapshots of the state: a large record need not be folded from its first entry at every start.

Owns when a snapshot is believed and when one is written. A snapshot is only a saving: whatever is wrong with one, it is
refused by name and the record is folded instead. It is believed when, in this order,
1. it is whole, and its note names this record (`<origin>/snapshot`) and is signed with the record's key;
2. its format and the code that folded it are this release's;
3. it is of no more entries than the record has, and the record's own checkpoint proves that they are its first ones (the
   root it names is that of a prefix: RFC 9162 2.1.4);
4. its content has the digest that was signed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import msgspec

from safeconduct.audit.checkpoint import Checkpoint, decode_base64, parse_checkpoint
from safeconduct.audit.merkle import verify_consistency
from safeconduct.kernel.errors import InvalidInput, LogUnavailable, SafeconductError, VerificationFailed
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.record.bulk import fold_many
from safeconduct.record.events import Event
from safeconduct.record.snapshot import FORMAT, fold_digest, read_state, write_state
from safeconduct.record.state import State

END: Final = b"SCSNAP01"
MIN_ENTRIES: Final = 20_000
"""Records shorter than this are folded in a second or so and get no snapshot."""
INTERVAL: Final = 900.0
"""Seconds between two looks at whether a new snapshot is due."""
KEPT: Final = 2
_TRIES: Final = 50
_BUSY: Final = 0.2
"""Part of the time that a snapshot written beside requests may take."""

_NOTE = re.compile(
    r"(?P<body>(?P<origin>[^\n]+)/snapshot\n(?P<position>[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/=]{44})\n"
    r"format (?P<format>[0-9]{1,9})\nfold (?P<fold>[0-9a-f]{64})\n"
    r"content (?P<length>[0-9]{1,15}) (?P<sha256>[0-9a-f]{64})\n)\n"
    "— (?P<name>[^ \n]+) (?P<signature>[A-Za-z0-9+/=]{1,200})\n"
)
_MAX_NOTE: Final = 4096

_logger = logging.getLogger(__name__)


class ProvableLog(Protocol):
    """What is asked of the record's log, in whichever home it lies."""

    origin: str

    @property
    def durable_size(self) -> int:
        """Entries that survive a power cut."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Durable entries [start, end)."""
        ...

    def checkpoint(self, *, force: bool = False) -> bytes:
        """The latest published checkpoint. force: one that covers all entries durable now."""
        ...

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of size `new` extends that of size `old` > 0."""
        ...


class SnapshotFile(Protocol):
    """A snapshot being written; it gets its name when it is whole and durable, or never."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises OSError."""
        ...


class SnapshotFiles(Protocol):
    """Where snapshots lie."""

    def names(self) -> list[str]:
        """Every snapshot, the one of most entries first."""
        ...

    def read(self, name: str) -> bytes:
        """The whole file. Raises OSError."""
        ...

    def replace(self, position: int) -> contextlib.AbstractContextManager[SnapshotFile]:
        """A file to write the snapshot of `position` to: in place and durable when the block ends without an error."""
        ...

    def remove(self, name: str) -> None:
        """Remove one; no error when it is not there."""
        ...


class Found(msgspec.Struct, frozen=True):
    """position: of the snapshot used, 0 when none was. refused: of each that was not believed, its name and why."""

    state: State
    position: int
    refused: tuple[str, ...]


def _key_id(name: str, key: VerifyingKey) -> bytes:
    # C2SP signed-note: SHA-256(name || 0x0A || type || public key)[:4]
    return hashlib.sha256(name.encode() + b"\n\x01" + key.raw()).digest()[:4]


def _refuse(step: str, message: str) -> VerificationFailed:
    return VerificationFailed(message, step=step, code="")


class Snapshots:
    """The snapshots of one record."""

    def __init__(self, files: SnapshotFiles, log: ProvableLog, signer: Signer) -> None:
        """signer: of the record's checkpoints; a snapshot's note has another name, so neither passes for the other."""
        self._files = files
        self._log = log
        self._signer = signer
        self._key = VerifyingKey(signer.public_jwk())
        self._name = f"{log.origin}/snapshot"

    def latest(self) -> Found:
        """The newest snapshot that is to be believed, or the empty state."""
        refused: list[str] = []
        for name in self._files.names():
            try:
                state = self._believed(self._files.read(name))
            except (SafeconductError, OSError) as error:
                step = f" ({error.step})" if isinstance(error, VerificationFailed) else ""
                text = error.message if isinstance(error, SafeconductError) else str(error)
                refused.append(f"snapshot {name} is refused{step}: {text}; the record is folded instead")
                continue
            return Found(state, state.position, tuple(refused))
        return Found(State.empty(), 0, tuple(refused))

    def _believed(self, data: bytes) -> State:
        whole = memoryview(data)
        if len(data) < 12 or data[-8:] != END:
            raise _refuse("format", "it is not whole")
        length = int.from_bytes(whole[-12:-8], "big")
        if length > _MAX_NOTE or length + 12 > len(data):
            raise _refuse("note", "it has no note")
        content = whole[: len(data) - 12 - length]
        try:
            text = bytes(whole[len(content) : -12]).decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        note = _NOTE.fullmatch(text)
        if note is None:
            raise _refuse("note", "its note cannot be read")
        # 1. Ours, and signed.
        if note["origin"] != self._log.origin or note["name"] != self._name:
            raise _refuse("origin", f"it is of {note['origin'][:80]!r}, not of {self._log.origin!r}")
        signature = decode_base64(note["signature"])
        if signature[:4] != _key_id(self._name, self._key) or not self._key.verify(
            signature[4:], note["body"].encode()
        ):
            raise _refuse("signature", "it is not signed with the record's key")
        # 2. Of this release.
        if int(note["format"]) != FORMAT:
            raise _refuse("format", f"it has format {note['format']}, this release reads {FORMAT}")
        if note["fold"] != fold_digest():
            raise _refuse("fold", "it was folded by another release")
        # 3. Of the first entries of this record.
        position = int(note["position"])
        if position > self._log.durable_size:
            raise _refuse(
                "position",
                f"it is of {position} entries and the record has {self._log.durable_size}: was the record rolled back?",
            )
        self._check_prefix(position, decode_base64(note["root"]))
        # 4. Unchanged.
        if len(content) != int(note["length"]) or hashlib.sha256(content).hexdigest() != note["sha256"]:
            raise _refuse("content", "its content was altered")
        state = read_state(content)
        if state.position != position:
            raise _refuse("content", "its content is of another position than its note")
        return state

    def _check_prefix(self, position: int, root: bytes) -> None:
        head = parse_checkpoint(self._log.checkpoint())
        if head.size < position:
            head = parse_checkpoint(self._log.checkpoint(force=True))
        if head.size == position:
            if head.root != root:
                raise _refuse("root", "its root is not the record's")
            return
        try:
            verify_consistency(
                position, head.size, root, head.root, self._log.consistency_proof(position, head.size)
            )
        except VerificationFailed as error:
            raise _refuse("root", f"the record's checkpoint does not extend it: {error.message}") from None

    def write(self, state: Callable[[], State], pause: Callable[[], None] = lambda: None) -> int:
        """Write a snapshot of the state as it is now and remove all but the last ones; returns its position.

        Raises LogUnavailable when the record does not stand still or its log has failed, OSError.
        """
        held, head = self._head(state)
        digest, length = hashlib.sha256(), 0
        with self._files.replace(held.position) as file:

            def put(data: bytes | bytearray | memoryview) -> None:
                nonlocal length
                digest.update(data)
                length += len(data)
                file.write(data)

            write_state(held, put, pause)
            body = (
                f"{self._name}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"
                f"format {FORMAT}\nfold {fold_digest()}\ncontent {length} {digest.hexdigest()}\n"
            )
            signed = base64.b64encode(_key_id(self._name, self._key) + self._signer.sign(body.encode()))
            note = f"{body}\n— {self._name} {signed.decode()}\n".encode()
            file.write(note + len(note).to_bytes(4, "big") + END)
        for name in self._files.names()[KEPT:]:
            self._files.remove(name)
        return held.position

    def _head(self, state: Callable[[], State]) -> tuple[State, Checkpoint]:
        """A state and the checkpoint of exactly its entries."""
        for _ in range(_TRIES):
            held = state()
            head = parse_checkpoint(self._log.checkpoint(force=True))
            if head.size == held.position:
                return held, head
            time.sleep(0.01)
        raise LogUnavailable("the record does not stand still", remedy="a snapshot is tried again later")


def fold_record(
    log: ProvableLog,
    events: Callable[[Iterator[bytes], int], Iterable[Event]],
    snapshots: Snapshots | None = None,
) -> Found:
    """The fold of everything durable, from the latest snapshot on when there is one.

    events: reads entries from an index on. Raises what `events` raises.
    """
    found = snapshots.latest() if snapshots is not None else Found(State.empty(), 0, ())
    size = log.durable_size
    state = fold_many(events(log.read(found.position, size), found.position), found.state)
    return msgspec.structs.replace(found, state=state)


class SnapshotWriter:
    """Writes snapshots beside the requests: at intervals, when enough was added, and once more at a clean stop."""

    def __init__(
        self,
        snapshots: Snapshots,
        state: Callable[[], State],
        *,
        written: int = 0,
        min_entries: int = MIN_ENTRIES,
        interval: float = INTERVAL,
    ) -> None:
        """written: position of the latest snapshot. min_entries: how much longer the record must be for another one."""
        self._snapshots = snapshots
        self._state = state
        self._written = written
        self._min_entries = min_entries
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin to look at intervals."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and write a last snapshot when one is due. Before the log is closed. Never raises: it is only a saving."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write(lambda: None)

    def _is_due(self) -> bool:
        # A tenth more than last time: the cost of writing stays a small part of the cost of what is written.
        return self._state().position - self._written >= max(self._min_entries, self._written // 10)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._write(self._give_way())

    def _write(self, pause: Callable[[], None]) -> None:
        if not self._is_due():
            return
        try:
            self._written = self._snapshots.write(self._state, pause)
        except _Stopped:
            _logger.info("a snapshot was given up for the stop")
        except (SafeconductError, OSError) as error:
            _logger.warning("no snapshot was written: %s", error)

    def _give_way(self) -> Callable[[], None]:
        """A pause after each piece, four times as long as the piece took: requests come first."""
        last = time.monotonic()

        def pause() -> None:
            nonlocal last
            taken = time.monotonic() - last
            if self._stop.wait(min(0.1, taken * (1 - _BUSY) / _BUSY)):
                raise _Stopped("stopping")
            last = time.monotonic()

        return pause


class _Stopped(InvalidInput):
    """The process stops; the piecemeal writing gives way to a quick one."""
