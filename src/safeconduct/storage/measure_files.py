"""What each process of a node has counted, in a file of its own that the others read: `<data>/shared/metrics/<process>.json`.

Owns the files. Each is replaced whole, so that a reader sees one moment and never half of two; nothing waits for a disk, since the
files are made anew with each start of the node. Refuses nothing: what cannot be read is left out of the sum.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from safeconduct.gateway.measures import MeasuresCounts


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says of itself. at: seconds of the machine's steady clock; counts, gauges: as of then.

    ended: it has stopped in good order; its counts stay, its gauges speak of nothing.
    """

    at: float
    counts: MeasuresCounts
    gauges: dict[str, float]
    ended: bool = False


class MeasureFiles:
    """The files of one node. One writer for each name, any number of readers."""

    def __init__(self, directory: Path) -> None:
        """directory: made, mode 0700, when something is written."""
        self._directory = directory

    def clear(self) -> None:
        """Forget all: a node begins, and counts from nothing."""
        for path in self._directory.glob("*.json*"):
            path.unlink(missing_ok=True)

    def write(self, name: str, published: Published) -> None:
        """Replace what `name` said before. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{name}.json"
        temporary = path.with_suffix(".json.tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_bytes(msgspec.json.encode(published))
        temporary.replace(path)

    def read(self, name: str) -> Published | None:
        """What `name` said last, None when it said nothing that can be read."""
        return _read(self._directory / f"{name}.json")

    def all(self) -> dict[str, Published]:
        """What each said last, by name."""
        read = {path.stem: _read(path) for path in sorted(self._directory.glob("*.json"))}
        return {name: published for name, published in read.items() if published is not None}


def _read(path: Path) -> Published | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Published)
    return None
