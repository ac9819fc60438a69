"""The published half of a log: full and partial tiles, the checkpoint, in the order that crashes and readers need.

Owns the tree and what is written from it; runs in whatever thread calls it. Refuses to sign a size that contradicts what it signed
before. Decides nothing about when to publish: `sequencing` does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier, sign_checkpoint
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.key_history import (
    KEY_HISTORY,
    follow_key_history,
    read_key_history,
    sign_key_change,
    write_key_history,
)
from safeconduct.audit.recovery import CHECKPOINT, replace_file
from safeconduct.audit.tile import TILE_WIDTH, parse_tile_path, tile_path
from safeconduct.audit.tree import Tree
from safeconduct.kernel.errors import InvalidInput, LogUnavailable, VerificationFailed
from safeconduct.kernel.signing import Signer


class Publication:
    """Tiles and checkpoints of one log. `lock` guards `tree` and the full tiles that belong to it."""

    def __init__(
        self,
        directory: LogDirectory,
        *,
        signer: Signer,
        verifier: LogVerifier,
        tree: Tree,
        published: Checkpoint | None,
        check_epoch: Callable[[], None],
    ) -> None:
        self.tree = tree
        self.lock = threading.Lock()
        self.published = published
        self._directory = directory
        self._signer = signer
        self._verifier = verifier
        self._check_epoch = check_epoch
        self._unsynced: list[str] = []  # full tiles written since the last sync of tiles

    @property
    def size(self) -> int:
        """Entries that the published checkpoint covers, -1 when there is none yet."""
        return self.published.size if self.published else -1

    @property
    def checkpoint(self) -> bytes:
        """The published signed note."""
        assert self.published is not None
        return self.published.text

    def append(self, entries: Sequence[bytes]) -> None:
        """Hash entries and write the tiles that became full. The caller holds `lock`. Raises OSError."""
        self.write_tiles(self.tree.append(entries))

    def write_tiles(self, tiles: list[tuple[str, bytes]]) -> None:
        """Write full tiles, not synced. Raises OSError."""
        for path, data in tiles:
            self._write_tile(path, data)
            self._directory.discard_directory(
                path + ".p"
            )  # tlog-tiles: partial tiles may go once the full one is there
            self._unsynced.append(path)

    def _write_tile(self, path: str, data: bytes) -> None:
        file = self._directory.create(path + ".tmp")
        try:
            file.write(data)
        finally:
            file.close()
        self._directory.rename(path + ".tmp", path)

    def publish(self) -> Checkpoint:
        """Write the partial tiles, sign, and replace the checkpoint: last, so that whoever reads it finds its tiles."""
        with self.lock:
            size, root = self.tree.size, self.tree.root()
            partial = self.tree.partial_tiles()
        before = self.published
        if before is not None and (size < before.size or (size == before.size and root != before.root)):
            raise LogUnavailable(f"refusing to sign size {size} after size {before.size}", field=CHECKPOINT)
        if before is None or size > before.size or not self._signed_by_current(before):
            for path, data in partial:
                self._write_tile(path, data)
            self._check_epoch()
            checkpoint = sign_checkpoint(self._signer, self._verifier, size, root)
            replace_file(self._directory, CHECKPOINT, checkpoint.text)
        else:
            # Nothing new to sign, but a power cut may have taken the unsynced partial tiles of the last checkpoint.
            for path, data in partial:
                self._write_tile(path, data)
            checkpoint = before
        self.published = checkpoint
        return checkpoint

    def _signed_by_current(self, checkpoint: Checkpoint) -> bool:
        return any(line.key_id == self._verifier.key_id for line in checkpoint.signatures)

    def change_key(self, signer: Signer) -> LogVerifier:
        """Hand the log over to another key at the tree as published, and publish under it. Only from the publishing thread.

        The history is durable before the first signature of the new key: a reader that meets the new key finds how it came.
        Raises InvalidInput (the same key, a key used before, no Ed25519), OSError.
        """
        published = self.published
        assert published is not None
        change = sign_key_change(
            self._verifier.name, self._signer, signer, size=published.size, root=published.root
        )
        try:
            known = self._directory.read(KEY_HISTORY)
        except FileNotFoundError:
            known = b""
        text = write_key_history((*read_key_history(known, self._verifier.name), change))
        try:
            verifier = follow_key_history(change.new, text)
        except VerificationFailed as error:
            raise InvalidInput(error.message, field="key", remedy="make another key") from None
        replace_file(self._directory, KEY_HISTORY, text)
        self._signer, self._verifier = signer, verifier
        self.publish()
        return verifier

    def sync_tiles(self) -> None:
        """Make all full tiles written so far durable. Raises OSError."""
        self._directory.sync_all(self._unsynced)
        self._unsynced = []

    def repair_partial_tiles(self) -> None:
        """Write the partial tiles of earlier checkpoints again where they are not as they were. Raises OSError."""
        # Readers of an earlier checkpoint may still ask for its partial tiles, and a power cut may have torn them.
        for level, number, present in self.tree.edge_tiles():
            for path in self._directory.list(tile_path(level, number) + ".p"):
                try:
                    width = parse_tile_path(path)[2]
                except InvalidInput:
                    width = TILE_WIDTH
                if width > present:
                    self._directory.remove(
                        path
                    )  # an unfinished write, or a tile of a writer that had lost the log
                elif self._directory.read(path) != (data := self.tree.edge_tile(level, width)):
                    self._write_tile(path, data)
