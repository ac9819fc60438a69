"""The published half of a log whose entries have their home elsewhere: tiles and checkpoint in files, derived from it.

Owns the tree over what the home handed out, and the check that every signed tree head is that of exactly these entries.
Refuses a home that is shorter than, or contradicts, the last checkpoint that was published here. Signs nothing; nothing in
here is the only copy of anything.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.fsck import MARKER
from safeconduct.audit.merkle import consistency_proof, inclusion_proof, range_hash
from safeconduct.audit.recovery import CHECKPOINT, replace_file
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, decode_bundle, tile_path, tiles_of
from safeconduct.audit.tree import Tree
from safeconduct.audit.wal import DIRECTORY
from safeconduct.kernel.errors import (
    InvalidInput,
    LogCorrupt,
    LogUnavailable,
    UnsafeConfiguration,
    VerificationFailed,
)

_MARKER_TEXT = b"Derived files: the record's home is a database.\n"


class DerivedLog:
    """Tiles of one log on this machine. Thread-safe. Use `DerivedLog.open`."""

    def __init__(self, directory: LogDirectory, verifier: LogVerifier, known: Checkpoint | None) -> None:
        self.verifier = verifier
        self.known = known
        """The last checkpoint that was published here by an earlier process."""
        self._directory = directory
        self._tree = Tree(directory.read)
        self._lock = threading.Lock()
        self._published: Checkpoint | None = None

    @classmethod
    def open(cls, directory: LogDirectory, verifier: LogVerifier) -> DerivedLog:
        """Lock the directory and read the last checkpoint in it; the tree begins empty.

        Raises LogUnavailable (another process), UnsafeConfiguration (a log that is its own home), LogCorrupt.
        """
        if not directory.acquire():
            raise LogUnavailable(
                "another process has this record's directory open",
                field="lock",
                remedy="stop it, or give this one a data directory of its own",
            )
        try:
            _check_marker(directory)
            known = _last_checkpoint(directory, verifier)
        except BaseException:
            directory.release()
            raise
        return cls(directory, verifier, known)

    @property
    def size(self) -> int:
        """Entries taken so far."""
        return self._tree.size

    @property
    def published(self) -> Checkpoint | None:
        """The checkpoint published by this process, None before the first."""
        return self._published

    def head(self) -> tuple[int, bytes]:
        """Size and root of the present tree."""
        with self._lock:
            return self._tree.size, self._tree.root()

    def append(self, entries: Sequence[bytes]) -> None:
        """Take the next entries and write the tiles that became full, where they are not there already. Raises OSError."""
        with self._lock:
            for path, data in self._tree.append(entries):
                self._write(path, data)
                self._directory.discard_directory(path + ".p")

    def _write(self, path: str, data: bytes) -> None:
        try:
            if self._directory.read(path) == data:
                return
        except FileNotFoundError:
            pass
        file = self._directory.create(path + ".tmp")
        try:
            file.write(data)
        finally:
            file.close()
        self._directory.rename(path + ".tmp", path)

    def check(self, checkpoint: Checkpoint, what: str) -> None:
        """Hold a signed tree head against the entries taken. Raises LogCorrupt when they are fewer, or lead to another root."""
        with self._lock:
            size = self._tree.size
            root = range_hash(self._tree.node(), 0, checkpoint.size) if checkpoint.size <= size else b""
        if checkpoint.size > size:
            raise LogCorrupt(
                f"the record holds {size} entries but {what} was signed over {checkpoint.size}",
                field=CHECKPOINT,
                remedy="the database was rolled back: restore the newer one; nothing will be signed until then",
            )
        if root != checkpoint.root:
            raise LogCorrupt(
                f"the entries lead to another root at size {checkpoint.size} than {what}",
                field=CHECKPOINT,
                remedy="an entry was altered: compare the database with a copy; nothing will be signed until then",
            )

    def check_known(self) -> None:
        """Hold what was published here by an earlier process against the entries taken now. Raises LogCorrupt."""
        if self.known is not None:
            self.check(self.known, "the checkpoint published here earlier")

    def read_checkpoint(self, text: bytes) -> Checkpoint:
        """A signed tree head, verified. Raises LogCorrupt."""
        try:
            return self.verifier.verify(text)
        except VerificationFailed as error:
            raise LogCorrupt(
                f"the record's checkpoint does not verify: {error.message}", field=CHECKPOINT
            ) from error

    def publish(self, text: bytes) -> Checkpoint:
        """Verify a signed tree head and write it with its partial tiles; the checkpoint file comes last.

        Raises LogCorrupt when it does not verify, is not of these entries, or is older than what was published here.
        """
        checkpoint = self.read_checkpoint(text)
        self.check(checkpoint, "the record's checkpoint")
        before = self._published or self.known
        if before is not None and checkpoint.size < before.size:
            raise LogCorrupt(
                f"the record's checkpoint shrank from {before.size} to {checkpoint.size} entries",
                field=CHECKPOINT,
                remedy="the database was rolled back: restore the newer one",
            )
        with self._lock:
            edges = {(level, number): present for level, number, present in self._tree.edge_tiles()}
            partial = [
                (ENTRIES, number, width) for level, number, width in tiles_of(checkpoint.size) if level == 0
            ]
            for level, number, width in (*partial, *tiles_of(checkpoint.size)):
                # Where the tile is full by now, its full file serves the older size too.
                if edges.get((level, number), 0) >= width:
                    self._write(tile_path(level, number, width), self._tree.edge_tile(level, width))
        if before is None or checkpoint.text != before.text:
            replace_file(self._directory, CHECKPOINT, checkpoint.text)
        self._published = checkpoint
        return checkpoint

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Entries [start, end). Raises InvalidInput beyond the size, LogCorrupt."""
        if not 0 <= start <= end <= self.size:
            raise InvalidInput(f"entries {start} to {end} are not all there ({self.size} are)", field="end")
        return self._read(start, end)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            with self._lock:
                stored = self._tree.size - len(self._tree.tail)
                recent = list(self._tree.tail) if start >= stored else []
            if start >= stored:
                yield from recent[start - stored : end - stored]
                return
            number, offset = divmod(start, TILE_WIDTH)
            path = tile_path(ENTRIES, number)
            chunk = decode_bundle(self._directory.read(path), path)[offset : offset + end - start]
            yield from chunk
            start += len(chunk)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size`. Raises InvalidInput."""
        self._need(size)
        with self._lock:
            return inclusion_proof(self._tree.node(), index, size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of size `new` extends that of size `old` > 0. Raises InvalidInput."""
        self._need(new)
        with self._lock:
            return consistency_proof(self._tree.node(), old, new)

    def _need(self, size: int) -> None:
        if size > self.size:
            raise InvalidInput(f"the log has no durable size {size}", field="size")

    def release(self) -> None:
        """Give the directory's lock back."""
        self._directory.release()


def _check_marker(directory: LogDirectory) -> None:
    if directory.list(DIRECTORY):
        raise UnsafeConfiguration(
            "the directory holds a record that is kept in files",
            field=DIRECTORY,
            remedy="use the home that the instance was made with",
        )
    if MARKER not in directory.list():
        replace_file(directory, MARKER, _MARKER_TEXT)


def _last_checkpoint(directory: LogDirectory, verifier: LogVerifier) -> Checkpoint | None:
    try:
        return verifier.verify(directory.read(CHECKPOINT))
    except FileNotFoundError:
        return None
    except VerificationFailed as error:
        raise LogCorrupt(
            f"our last checkpoint does not verify: {error.message}",
            field=CHECKPOINT,
            remedy="open the record with its own key and origin, or restore the file",
        ) from error


def process_name() -> str:
    """Names this process to the others: `pid@host` without anything secret."""
    return f"{os.getpid()}@{os.uname().nodename}"[:100]
