"""A follower's own copy of a log: every entry verified on the way in, kept as the same tiles and checkpoint that the log has.

Owns the copy's files and its tree. Refuses whatever does not lead to the signed root, a log that became shorter, and another
tree under the same size; and to sign anything. Whoever reads the copy verifies it again (`reader.PublishedLog`).
"""

from __future__ import annotations

from collections.abc import Sequence

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.key_history import KEY_HISTORY, follow_key_history
from safeconduct.audit.reader import PublishedLog, follow_published
from safeconduct.audit.recovery import CHECKPOINT, replace_file
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, tile_width
from safeconduct.audit.tree import Tree
from safeconduct.kernel.errors import LogCorrupt, LogUnavailable, NotFound, VerificationFailed

KNOWN = "known"
"""The newest checkpoint that was ever accepted, durable: what a log that was rolled back is held against."""


def _contradiction(message: str) -> VerificationFailed:
    return VerificationFailed(
        message,
        step="consistency",
        code="",
        remedy="the log was rolled back or shows different trees: keep this copy as evidence and ask its operator",
    )


class Mirror:
    """The copy in one directory. One process writes it; not thread-safe. Use `Mirror.open`."""

    def __init__(self, directory: LogDirectory, verifier: LogVerifier) -> None:
        """verifier: of the pinned key, from which the key history leads on. Raises VerificationFailed."""
        self.notes: list[str] = []
        self._pinned = verifier
        self._directory = directory
        self.verifier = follow_published(directory.read, verifier)
        self._tree = Tree(directory.read)
        self._checkpoint: Checkpoint | None = None
        self._known: Checkpoint | None = None

    @classmethod
    def open(cls, directory: LogDirectory, verifier: LogVerifier) -> Mirror:
        """Lock the directory and take up what is in it, every byte verified; a damaged copy is begun again from nothing.

        Raises LogUnavailable (another process writes it), VerificationFailed (it is a copy of another log).
        """
        if not directory.acquire():
            raise LogUnavailable("another process writes this copy of the record", field="lock")
        try:
            mirror = cls(directory, verifier)
            mirror._known = mirror._accepted(KNOWN)
            mirror._load()
        except BaseException:
            directory.release()
            raise
        return mirror

    def adopt_history(self, text: bytes) -> None:
        """Take in the log's key history when it is longer than the one here. Raises VerificationFailed for one that differs.

        A shorter one changes nothing: whoever holds a key that was replaced cannot make a follower forget that it was.
        """
        try:
            known = self._directory.read(KEY_HISTORY)
        except FileNotFoundError:
            known = b""
        if text == known or known.startswith(text):
            return
        if not text.startswith(known):
            raise _contradiction("its key history is not the one it had before")
        verifier = follow_key_history(self._pinned, text)
        replace_file(self._directory, KEY_HISTORY, text)
        self.verifier = verifier

    def _accepted(self, path: str) -> Checkpoint | None:
        try:
            return self.verifier.verify(self._directory.read(path))
        except FileNotFoundError:
            return None

    def _load(self) -> None:
        self._tree, self._checkpoint = Tree(self._directory.read), None
        try:
            found = self._accepted(CHECKPOINT)
            if found is None:
                return
            published = PublishedLog(self._directory.read, self.verifier)
            size = published.refresh().size
            for _ in published.entries(0, size):
                pass
            full = size - size % TILE_WIDTH
            tree = Tree(self._directory.read, full)
            if width := tile_width(ENTRIES, full // TILE_WIDTH, size):
                tree.append(published.bundle(full // TILE_WIDTH, size)[:width])
            self._check_root(tree, found)
        except (LogCorrupt, NotFound, VerificationFailed, OSError) as error:
            # What was ever accepted stays in `known`: a damaged copy is no way to make a follower forget.
            self.notes.append(f"the copy of the record is damaged and is fetched again: {error}")
            self._directory.remove(CHECKPOINT)
            return
        self._tree, self._checkpoint = tree, found

    @staticmethod
    def _check_root(tree: Tree, checkpoint: Checkpoint) -> None:
        if tree.root() != checkpoint.root:
            raise LogCorrupt("the tiles lead to another root", field=CHECKPOINT)

    @property
    def size(self) -> int:
        """Entries of the copy that a checkpoint covers."""
        return self._checkpoint.size if self._checkpoint else 0

    @property
    def root(self) -> bytes:
        """Root of the copy's tree."""
        return self._tree.root()

    def check(self, size: int, root: bytes) -> None:
        """Hold a signed tree head that is not ahead of the copy against it. Raises VerificationFailed."""
        if size < self.size:
            raise _contradiction(f"the log shrank from {self.size} to {size} entries")
        if size == self.size and root != self.root:
            raise _contradiction(f"two trees of {size} entries have different roots")

    def extend(self, entries: Sequence[bytes], note: bytes) -> Checkpoint:
        """Take in the entries behind `size` up to the signed checkpoint `note`. All of them, or none.

        Raises VerificationFailed when they do not lead to its root; then the copy is as it was.
        """
        checkpoint = self.verifier.verify(note)
        self.check(checkpoint.size, checkpoint.root)
        if self.size + len(entries) != checkpoint.size:
            raise _contradiction(
                f"{len(entries)} entries do not lead from {self.size} to {checkpoint.size} entries"
            )
        known = self._known
        if known is not None and checkpoint.size < known.size:
            raise _contradiction(f"the log shrank from {known.size} to {checkpoint.size} entries")
        finished: list[tuple[str, bytes]] = []
        try:
            # In two steps where an accepted tree lies in between (after damage): it has to be a part of this one.
            split = known.size - self.size if known is not None else 0
            if known is not None and 0 < split <= len(entries):
                finished += self._tree.append(entries[:split])
                if self._tree.root() != known.root:
                    raise _contradiction(f"its first {known.size} entries are not those it had before")
                entries = entries[split:]
            finished += self._tree.append(entries)
            if self._tree.root() != checkpoint.root:
                raise _contradiction("the entries do not lead to the signed root")
        except VerificationFailed:
            self._load()
            raise
        for path, data in (*finished, *self._tree.partial_tiles()):
            self._write(path, data)
        # Last, so that whoever reads the checkpoint finds its tiles. Not synced: what a power cut takes is fetched again.
        self._write(CHECKPOINT, note)
        self._checkpoint = checkpoint
        return checkpoint

    def remember(self) -> None:
        """Make the newest accepted checkpoint durable, against a log that is rolled back later. Raises OSError."""
        if self._checkpoint is not None and (self._known is None or self._known.size < self._checkpoint.size):
            replace_file(self._directory, KNOWN, self._checkpoint.text)
            self._known = self._checkpoint

    def _write(self, path: str, data: bytes) -> None:
        file = self._directory.create(path + ".tmp")
        try:
            file.write(data)
        finally:
            file.close()
        self._directory.rename(path + ".tmp", path)

    def close(self) -> None:
        """Remember the newest checkpoint and give the directory back."""
        try:
            self.remember()
        finally:
            self._directory.release()
