"""Opening a log's directory: who may write (lock and epoch), what is in it, and whether it contradicts our own signature.

Owns the epoch file and the start of a log. Refuses to go on when the write-ahead log is shorter than the last checkpoint, leads
to another root, or is not ours.
"""

from __future__ import annotations

import os
import re
import zlib

import msgspec

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.audit.files import LogDirectory, LogReader
from safeconduct.audit.key_history import KEY_HISTORY, follow_key_history
from safeconduct.audit.merkle import range_hash
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, decode_bundle, tile_path
from safeconduct.audit.tree import Tree
from safeconduct.audit.wal import DIRECTORY, Replay, decode_segment, is_segment_path, join_segments
from safeconduct.kernel.errors import LogCorrupt, LogUnavailable, NotFound, VerificationFailed
from safeconduct.kernel.signing import Signer

CHECKPOINT = "checkpoint"
EPOCH = "epoch"
_EPOCH = re.compile(rb"(epoch (\d{1,10})\npid (\d{1,10})\n)crc32 ([0-9a-f]{8})\n")


class Epoch(msgspec.Struct, frozen=True):
    """number: grows by one with every writer; pid: the process that took it."""

    number: int
    pid: int

    def encode(self) -> bytes:
        """The bytes of the epoch file."""
        body = f"epoch {self.number}\npid {self.pid}\n".encode()
        return body + f"crc32 {zlib.crc32(body):08x}\n".encode()


def read_epoch(directory: LogReader) -> Epoch | None:
    """The latest epoch, None when no writer ever opened the log. Raises LogCorrupt."""
    try:
        data = directory.read(EPOCH)
    except FileNotFoundError:
        return None
    match = _EPOCH.fullmatch(data)
    if match is None or f"{zlib.crc32(match[1]):08x}".encode() != match[4]:
        raise LogCorrupt(
            "the epoch file is altered (byte 0)",
            field=EPOCH,
            remedy="make sure that no other process writes this log, then restore the file",
        )
    epoch = Epoch(int(match[2]), int(match[3]))
    if epoch.encode() != data:
        raise LogCorrupt("the epoch file is altered (byte 0)", field=EPOCH)
    return epoch


def own_verifier(directory: LogReader, origin: str, signer: Signer) -> LogVerifier:
    """The verifier of a log whose key is `signer`, keys before it included. Raises LogCorrupt when another key is in force."""
    own = LogVerifier.of(origin, signer)
    try:
        verifier = follow_key_history(own, directory.read(KEY_HISTORY))
    except FileNotFoundError:
        return own
    except VerificationFailed as error:
        raise LogCorrupt(
            f"the key history: {error.message}",
            field=KEY_HISTORY,
            remedy="open the log with its own key and origin, or restore the file",
        ) from error
    if verifier.key.thumbprint != own.key.thumbprint:
        raise LogCorrupt(
            f"the log's key is {verifier.key_id.hex()} by now, not {own.key_id.hex()}",
            field=KEY_HISTORY,
            remedy="restore the newer key",
        )
    return verifier


def replace_file(directory: LogDirectory, path: str, data: bytes) -> None:
    """Replace a file so that after a crash it is wholly the old or wholly the new one, durable on return."""
    temporary = path + ".tmp"
    file = directory.create(temporary)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
    directory.rename(temporary, path)
    directory.sync_directory(path.rpartition("/")[0])


def take_over(directory: LogDirectory, *, create: bool) -> Epoch:
    """Lock the directory and start a new epoch. Raises NotFound when there is no log, LogUnavailable when it has a writer."""
    if not create and not directory.list(DIRECTORY) and read_epoch(directory) is None:
        raise NotFound("there is no log in this directory", field="directory", remedy="create it first")
    try:
        acquired = directory.acquire()
    except OSError as error:
        raise LogUnavailable(f"cannot lock the log: {error}", field="lock") from error
    if not acquired:
        holder = read_epoch(directory)
        who = f"process {holder.pid}" if holder else "another process"
        raise LogUnavailable(
            f"{who} is writing this log (second writer)",
            field="lock",
            remedy="stop that process, or use another directory",
        )
    try:
        before = read_epoch(directory)
        epoch = Epoch(before.number + 1 if before else 1, os.getpid())
        # Durable before the write-ahead log is read: whatever an older writer acknowledged, it wrote before this.
        replace_file(directory, EPOCH, epoch.encode())
    except BaseException:
        directory.release()
        raise
    return epoch


class Recovered(msgspec.Struct, frozen=True):
    """A tree rebuilt up to every durable entry. finished: full tiles to be written again; segments: paths of the old WAL."""

    tree: Tree
    published: Checkpoint | None
    finished: list[tuple[str, bytes]]
    segments: list[str]
    notes: list[str]


def recover(directory: LogReader, verifier: LogVerifier, *, create: bool) -> Recovered:
    """Replay the write-ahead log and hold it against our last checkpoint. Raises LogCorrupt, naming the file."""
    published = _last_checkpoint(directory, verifier)
    paths = [path for path in directory.list(DIRECTORY) if is_segment_path(path)]
    if published is None:
        return _fresh(directory, verifier, paths, create=create)
    replay = join_segments([decode_segment(directory.read(path), path, verifier.name) for path in paths])
    if replay.size < published.size:
        raise LogCorrupt(
            f"the log holds {replay.size} entries but its checkpoint was signed over {published.size}",
            field=paths[-1],
            remedy="it was rolled back or its end is altered: restore the newer files; nothing will be signed until then",
        )
    tree, finished = _rebuild(directory, replay)
    root = _root_at(directory, tree, finished, published.size)
    if root != published.root:
        raise LogCorrupt(
            f"the entries lead to another root at size {published.size} than the one we signed",
            field=CHECKPOINT,
            remedy="run fsck to find the altered file; nothing will be signed until then",
        )
    return Recovered(tree, published, finished, paths, replay.notes)


def _root_at(directory: LogReader, tree: Tree, finished: list[tuple[str, bytes]], size: int) -> bytes:
    # Full tiles that were rebuilt just now are not on disk yet, or are there as an unsynced write left them.
    rebuilt = dict(finished)

    def read(path: str) -> bytes:
        return rebuilt[path] if path in rebuilt else directory.read(path)

    try:
        return range_hash(tree.node(read), 0, size)
    except FileNotFoundError as error:
        raise LogCorrupt(
            "a full tile is missing", field=str(error.filename), remedy="restore it from a copy"
        ) from error


def _last_checkpoint(directory: LogReader, verifier: LogVerifier) -> Checkpoint | None:
    try:
        return verifier.verify(directory.read(CHECKPOINT))
    except FileNotFoundError:
        return None
    except VerificationFailed as error:
        raise LogCorrupt(
            f"our last checkpoint does not verify: {error.message}",
            field=CHECKPOINT,
            remedy="open the log with its own key and origin, or restore the file",
        ) from error


def _fresh(directory: LogReader, verifier: LogVerifier, paths: list[str], *, create: bool) -> Recovered:
    # Creation may have stopped before its first checkpoint: then there are segments without an entry, and no tile.
    segments = [decode_segment(directory.read(path), path, verifier.name) for path in paths]
    if directory.list("tile") or any(segment.entries or segment.header.first for segment in segments):
        raise LogCorrupt(
            "the log has entries but no checkpoint",
            field=CHECKPOINT,
            remedy="restore the last checkpoint file",
        )
    if not create:
        raise NotFound("there is no log in this directory", field="directory", remedy="create it first")
    return Recovered(Tree(directory.read), None, [], paths, [])


def _rebuild(directory: LogReader, replay: Replay) -> tuple[Tree, list[tuple[str, bytes]]]:
    # A segment is removed only after the full bundles of its entries were synced: below `base` the tiles are durable.
    base = -(-replay.first // TILE_WIDTH) * TILE_WIDTH
    if base > replay.size:
        raise LogCorrupt(
            f"entries {replay.size} to {base - 1} are missing from the write-ahead log", field=DIRECTORY
        )
    try:
        if base:
            path = tile_path(ENTRIES, base // TILE_WIDTH - 1)
            bundle = decode_bundle(directory.read(path), path)
            overlap = replay.entries[: base - replay.first]
            if overlap and bundle[-len(overlap) :] != overlap:
                raise LogCorrupt("the bundle contradicts the write-ahead log", field=path)
        tree = Tree(directory.read, base)
    except FileNotFoundError as error:
        raise LogCorrupt(
            "a full tile is missing", field=str(error.filename), remedy="restore it from a copy"
        ) from error
    return tree, tree.append(replay.entries[base - replay.first :])
