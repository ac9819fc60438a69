"""Whole verification of a log: signature, every tile, every entry, and, in the log's own directory, the write-ahead log.

Owns the comparison and its findings; repairs nothing. Finds one flipped bit anywhere and says in which file and at which entry
or byte: where bundle and tile differ, the signed root decides which of them is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import msgspec

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.audit.files import LogReader
from safeconduct.audit.key_history import KEY_HISTORY
from safeconduct.audit.merkle import HASH_SIZE, leaf_hashes, perfect_root, range_hash
from safeconduct.audit.reader import Fetch, follow_published
from safeconduct.audit.recovery import CHECKPOINT, EPOCH, read_epoch
from safeconduct.audit.tile import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    decode_bundle,
    parse_tile_path,
    split_tile,
    tile_path,
    tile_width,
)
from safeconduct.audit.wal import DIRECTORY, Replay, Segment, decode_segment, is_segment_path, join_segments
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, NotFound, VerificationFailed

LOCK = "lock"
MARKER = "derived"
"""A file that says: the entries' home is elsewhere, so there is no write-ahead log here."""

Progress = Callable[[int, int], None]
"""`progress(entries done, entries in all)`."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong. file: path within the log; entry: index where known; message: what and, where known, at which byte."""

    file: str
    message: str
    entry: int | None = None

    def __str__(self) -> str:
        entry = f", entry {self.entry}" if self.entry is not None else ""
        return f"{self.file}{entry}: {self.message}"


class Report(msgspec.Struct, frozen=True):
    """Outcome. size, root: of the verified checkpoint (0 and empty when it did not verify); durable: entries with the WAL's.

    problems: empty when all is well; notes: harmless things worth knowing.
    """

    origin: str
    size: int
    root: bytes
    durable: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


class _Findings:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def add(self, file: str, message: str, entry: int | None = None) -> None:
        self.problems.append(Problem(file, message, entry))


class _Block:
    """One full or partial level-0 tile with its bundle: two witnesses of the same leaf hashes."""

    def __init__(self, number: int, bundle: list[bytes] | None, tile: list[bytes] | None) -> None:
        self.number = number
        self.bundle = bundle
        self.tile = tile
        self.leaves: list[bytes] = []

    @property
    def candidates(self) -> list[list[bytes]]:
        found = [hashes for hashes in (self.bundle, self.tile) if hashes is not None]
        return found[:1] if len(found) == 2 and found[0] == found[1] else found


def verify(
    fetch: Fetch, verifier: LogVerifier, *, known: Checkpoint | None = None, progress: Progress | None = None
) -> Report:
    """Verify a published log as anybody sees it: checkpoint, every entry, every tile that the checkpoint needs.

    known: a checkpoint remembered from earlier, which the log must extend.
    """
    findings = _Findings()
    published = _Published(fetch, verifier, findings, progress)
    published.run(known)
    root = published.checkpoint.root if published.checkpoint else b""
    return Report(
        verifier.name, published.size, root, published.size, tuple(findings.problems), tuple(findings.notes)
    )


def check(
    directory: LogReader,
    verifier: LogVerifier,
    *,
    known: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify a log's own directory: all of `verify`, the write-ahead log, and every other file in it. Run it on a stopped log.

    A running one may show unfinished writes as problems; one that lost power may lack tiles that reopening it rebuilds.
    """
    findings = _Findings()
    published = _Published(directory.read, verifier, findings, progress)
    published.run(known)
    # A mirror of a log whose home is a database has neither a write-ahead log nor an epoch of its own.
    mirrored = MARKER in directory.list() and not directory.list(DIRECTORY)
    segments = [] if mirrored else _read_segments(directory, verifier, findings)
    replay = _join(segments, findings) if segments else None
    if replay is not None:
        _check_wal(segments, replay, published, findings)
    _check_tile_files(directory, published, replay, findings)
    _check_other_files(directory, segments, findings, mirrored=mirrored)
    root = published.checkpoint.root if published.checkpoint else b""
    durable = max(published.size, replay.size if replay else 0)
    return Report(
        verifier.name, published.size, root, durable, tuple(findings.problems), tuple(findings.notes)
    )


class _Published:
    """What the checkpoint covers. After `run`: `level1` and `last` lead to the signed root where `sound`."""

    def __init__(
        self, fetch: Fetch, verifier: LogVerifier, findings: _Findings, progress: Progress | None
    ) -> None:
        self._fetch = fetch
        self._verifier = verifier
        self._findings = findings
        self._progress = progress
        self.checkpoint: Checkpoint | None = None
        self.size = 0
        self.sound = False
        self.level1: list[bytes] = []
        """Roots of the full level-0 tiles, in order."""
        self.last: list[bytes] = []
        """Leaf hashes of the partial tile."""
        self.seen: set[str] = set()

    def run(self, known: Checkpoint | None) -> None:
        try:
            self._verifier = follow_published(self._fetch, self._verifier)
        except VerificationFailed as error:
            self._findings.add(KEY_HISTORY, error.message)
        try:
            checkpoint = self._verifier.verify(self._fetch(CHECKPOINT))
        except (FileNotFoundError, NotFound):
            self._findings.add(CHECKPOINT, "there is none")
            return
        except VerificationFailed as error:
            self._findings.add(CHECKPOINT, f"{error.message} (from byte 0)")
            return
        self.checkpoint, self.size = checkpoint, checkpoint.size
        known_root = self._check_blocks(checkpoint, known)
        self._check_upper()
        if known is not None:
            self._check_known(known, checkpoint, known_root)

    def _check_known(self, known: Checkpoint, checkpoint: Checkpoint, known_root: bytes | None) -> None:
        if known.size > checkpoint.size:
            self._findings.add(
                CHECKPOINT, f"the log shrank: a checkpoint over {known.size} entries was seen earlier"
            )
        elif known_root != known.root or known.origin != checkpoint.origin:
            self._findings.add(
                CHECKPOINT, f"the first {known.size} entries are not those of the checkpoint seen earlier"
            )

    def _check_blocks(self, checkpoint: Checkpoint, known: Checkpoint | None) -> bytes | None:
        """Fills `level1` and `last`; returns the root at the known checkpoint's size."""
        suspects: list[_Block] = []
        boundary: list[bytes] = []  # leaves of the block in which the known checkpoint ends
        blocks = -(-self.size // TILE_WIDTH)
        for number in range(blocks):
            block = self._read_block(number)
            candidates = block.candidates
            block.leaves = candidates[0] if candidates else []
            if len(candidates) != 1:
                suspects.append(block)
            if known is not None and number == known.size // TILE_WIDTH:
                boundary = block.leaves
            self._put(block)
            if self._progress:
                self._progress(min(self.size, (number + 1) * TILE_WIDTH), self.size)
        self._resolve(checkpoint, suspects)
        if known is None or known.size > self.size:
            return None
        return _root(self.level1[: known.size // TILE_WIDTH], boundary[: known.size % TILE_WIDTH])

    def _read_block(self, number: int) -> _Block:
        width = tile_width(0, number, self.size)
        found: list[list[bytes] | None] = []
        for level in (ENTRIES, 0):
            try:
                data, path = self._fetch_tile(level, number, width)
                whole = decode_bundle(data, path) if level == ENTRIES else split_tile(data, path)
                found.append(leaf_hashes(whole[:width]) if level == ENTRIES else whole[:width])
            except LogCorrupt as error:
                self._findings.add(
                    error.field, error.message, None if level == ENTRIES else number * TILE_WIDTH
                )
                found.append(None)
        return _Block(number, found[0], found[1])

    def _fetch_tile(self, level: int, number: int, width: int) -> tuple[bytes, str]:
        wanted = tile_path(level, number, width)
        for path in (wanted, tile_path(level, number)):
            try:
                data = self._fetch(path)
            except (FileNotFoundError, NotFound):
                continue
            if path == wanted:
                self.seen.add(path)
            return data, path
        raise LogCorrupt("missing", field=wanted)

    def _put(self, block: _Block) -> None:
        if tile_width(0, block.number, self.size) < TILE_WIDTH:
            self.last = block.leaves
            return
        root = perfect_root(block.leaves) if block.leaves else bytes(HASH_SIZE)
        if block.number == len(self.level1):
            self.level1.append(root)
        else:
            self.level1[block.number] = root

    def _resolve(self, checkpoint: Checkpoint, suspects: list[_Block]) -> None:
        """Find, where bundle and tile differ, the ones that lead to the signed root; the others are wrong."""
        choices = [block.candidates or [[]] for block in suspects]
        # A few suspects can be tried in all combinations; with more, all bundles and all tiles are tried.
        combinations = product(*choices) if len(suspects) <= 6 else zip(*_columns(choices), strict=True)
        for combination in combinations:
            for block, leaves in zip(suspects, combination, strict=True):
                block.leaves = leaves
                self._put(block)
            if _root(self.level1, self.last) == checkpoint.root:
                self.sound = True
                break
        for block in suspects:
            self._name(block)
        if not self.sound and not suspects:
            self._findings.add(
                CHECKPOINT, f"all entries lead to another root than the signed one of size {checkpoint.size}"
            )

    def _name(self, block: _Block) -> None:
        width = tile_width(0, block.number, self.size)
        for level, hashes, other in ((ENTRIES, block.bundle, block.tile), (0, block.tile, block.bundle)):
            if hashes is None or (self.sound and hashes == block.leaves):
                continue
            right = block.leaves if self.sound else other or []
            path = tile_path(level, block.number, width)
            what = "the entry does not have" if level == ENTRIES else "this is not"
            sure = "the leaf hash that was signed" if self.sound else "the leaf hash of its other copy"
            for position, (mine, signed) in enumerate(zip(hashes, right, strict=False)):
                if mine != signed:
                    place = "" if level == ENTRIES else f" (byte {position * HASH_SIZE})"
                    self._findings.add(path, f"{what} {sure}{place}", block.number * TILE_WIDTH + position)

    def _check_upper(self) -> None:
        for level, hashes in enumerate(_levels(self.level1), start=1):
            for number in range(-(-len(hashes) // TILE_WIDTH)):
                expected = hashes[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
                try:
                    data, path = self._fetch_tile(level, number, len(expected))
                    found = split_tile(data, path)[: len(expected)]
                except LogCorrupt as error:
                    self._findings.add(error.field, error.message)
                    continue
                _compare(path, found, expected, (level, number), self._findings)


def _columns(choices: list[list[list[bytes]]]) -> list[tuple[list[bytes], list[bytes]]]:
    return [(candidates[0], candidates[-1]) for candidates in choices]


def _compare(
    path: str, found: list[bytes], expected: list[bytes], place: tuple[int, int], findings: _Findings
) -> None:
    level, number = place
    for position, (mine, right) in enumerate(zip(found, expected, strict=False)):
        if mine != right:
            first = (number * TILE_WIDTH + position) << (8 * level)
            findings.add(
                path, f"altered: not the hash of the entries below (byte {position * HASH_SIZE})", first
            )


def _levels(level1: list[bytes]) -> list[list[bytes]]:
    """All hashes of level 1, 2, ... out of those of level 1."""
    found = []
    row = level1
    while row:
        found.append(row)
        full = len(row) - len(row) % TILE_WIDTH
        row = [perfect_root(row[start : start + TILE_WIDTH]) for start in range(0, full, TILE_WIDTH)]
    return found


def _root(level1: list[bytes], last: list[bytes]) -> bytes:
    """Root over full level-0 tiles and the leaves of a partial one."""

    def node(height: int, index: int) -> bytes:
        if height >= TILE_HEIGHT:
            inner = height - TILE_HEIGHT
            return perfect_root(level1[index << inner : (index + 1) << inner])
        start = (index << height) - len(level1) * TILE_WIDTH
        return perfect_root(last[start : start + (1 << height)])

    return range_hash(node, 0, len(level1) * TILE_WIDTH + len(last))


# -- the directory's own files ---------------------------------------------------------------------------------------


def _read_segments(directory: LogReader, verifier: LogVerifier, findings: _Findings) -> list[Segment]:
    segments = []
    sound = True
    for path in directory.list(DIRECTORY):
        if not is_segment_path(path):
            continue
        try:
            segments.append(decode_segment(directory.read(path), path, verifier.name))
        except LogCorrupt as error:
            findings.add(error.field, error.message)
            sound = False
    if not segments and sound:
        findings.add(DIRECTORY, "the write-ahead log is missing")
    return segments if sound else []


def _join(segments: list[Segment], findings: _Findings) -> Replay | None:
    try:
        return join_segments(segments)
    except LogCorrupt as error:
        findings.add(error.field, error.message)
        return None


def _check_wal(segments: list[Segment], replay: Replay, published: _Published, findings: _Findings) -> None:
    last = segments[-1]
    if replay.size < published.size:
        findings.add(
            last.path,
            f"altered or cut from byte {last.valid_bytes}: it ends before the checkpoint's {published.size} entries",
            replay.size,
        )
    else:
        findings.notes.extend(replay.notes)
    if not published.sound:
        return
    # What the signed root covers decides: the bundles were held against it already.
    covered = min(replay.size, published.size)
    start = -(-replay.first // TILE_WIDTH) * TILE_WIDTH
    while start < covered:
        leaves = leaf_hashes(
            replay.entries[start - replay.first : min(start + TILE_WIDTH, covered) - replay.first]
        )
        number = start // TILE_WIDTH
        if len(leaves) == TILE_WIDTH:
            sound = perfect_root(leaves) == published.level1[number]
        else:
            sound = number < len(published.level1) or leaves == published.last[: len(leaves)]
        if not sound:
            path = next(segment.path for segment in reversed(segments) if segment.header.first <= start)
            findings.add(path, "the entries from here on are not those that were signed", start)
        start += TILE_WIDTH


def _check_tile_files(
    directory: LogReader, published: _Published, replay: Replay | None, findings: _Findings
) -> None:
    """Every tile file that the checkpoint does not need: full tiles ahead of it, partial ones of earlier checkpoints."""
    level1, ahead = list(published.level1), published.size
    if replay is not None and replay.first <= len(level1) * TILE_WIDTH:
        for start in range(len(level1) * TILE_WIDTH, replay.size - TILE_WIDTH + 1, TILE_WIDTH):
            offset = start - replay.first
            level1.append(perfect_root(leaf_hashes(replay.entries[offset : offset + TILE_WIDTH])))
        ahead = max(ahead, replay.size)
    levels = _levels(level1)

    def leaves_of(number: int) -> list[bytes]:
        start = number * TILE_WIDTH
        if replay is not None and replay.first <= start:
            return leaf_hashes(replay.entries[start - replay.first : start - replay.first + TILE_WIDTH])
        if number == len(published.level1):
            return published.last
        path = tile_path(0, number)
        return split_tile(directory.read(path), path)

    for path in directory.list("tile"):
        if path in published.seen:
            continue
        try:
            level, number, width = parse_tile_path(path)
        except InvalidInput:
            findings.notes.append(f"{path}: not part of the log")
            continue
        height = max(level, 0)
        if tile_width(height, number, ahead) < width:
            findings.add(path, "a tile beyond the entries of the log")
            continue
        try:
            data = directory.read(path)
            found = leaf_hashes(decode_bundle(data, path)) if level == ENTRIES else split_tile(data, path)
            right = leaves_of(number) if height == 0 else levels[height - 1][number * TILE_WIDTH :]
        except (LogCorrupt, FileNotFoundError) as error:
            findings.add(path, error.message if isinstance(error, LogCorrupt) else "its full tile is missing")
            continue
        _compare(path, found, right[:width], (height, number), findings)


def _check_other_files(
    directory: LogReader, segments: list[Segment], findings: _Findings, *, mirrored: bool
) -> None:
    try:
        epoch = read_epoch(directory)
        if epoch is None:
            if not mirrored:
                findings.add(EPOCH, "missing")
        elif segments and epoch.number < segments[-1].header.epoch:
            findings.add(
                EPOCH, f"older than the write-ahead log, which is of epoch {segments[-1].header.epoch}"
            )
    except LogCorrupt as error:
        findings.add(EPOCH, error.message)
    for path in directory.list():
        if path == LOCK:
            if directory.read(path):
                findings.add(path, "not empty (byte 0)")
        elif path.endswith(".tmp"):
            findings.notes.append(f"{path}: left by an unfinished write, harmless")
        elif not (
            path in (CHECKPOINT, EPOCH, KEY_HISTORY)
            or (mirrored and path == MARKER)
            or path.startswith("tile/")
            or is_segment_path(path)
        ):
            findings.notes.append(f"{path}: not part of the log")
