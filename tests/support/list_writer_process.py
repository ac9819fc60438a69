"""A process that brings a version of a list into force and is killed (SIGKILL) at its n-th call to the disk.

Arguments: directory, n. Exits with 0 when n was beyond the last call.
"""

import io
import os
import signal
import sys
from pathlib import Path

from safeconduct.identity.screening.entry import EntryKind, ListedName, ListEntry
from safeconduct.identity.screening.list_version import ListVersion, SourceFile
from safeconduct.identity.screening.sources.formats import ListFormat
from safeconduct.storage.screening_lists import ScreeningListFiles

LIST = "un.sc"


def entries(count):
    return [ListEntry(f"MU.{n}", EntryKind.PERSON, (ListedName(f"Madeup Person {n}"),)) for n in range(count)]


def bring_in(store, digest, count, *, at):
    """A version of so many made-up entries, put in force."""
    with store.changing(LIST):
        draft = store.draft(LIST)
        for entry in entries(count):
            draft.write(entry)
        draft.keep_source("file", io.BytesIO(b"made up " * 1_000))
        draft.keep(
            ListVersion(
                list=LIST,
                sha256=digest,
                entries_sha256=draft.entries_sha256,
                format=ListFormat.UN_XML,
                files=(SourceFile("file", 8_000, digest),),
                entries=count,
                names=count,
                imported_at=at,
            )
        )
        store.put_in_force(LIST, digest)


def kill_at(wanted):
    """Kill this process instead of its n-th fsync, rename, open for writing, or mkdir."""
    seen = 0

    def wrap(name, counts=lambda *_: True):
        real = getattr(os, name)

        def call(*given, **more):
            nonlocal seen
            if counts(*given):
                seen += 1
                if seen == wanted:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **more)

        setattr(os, name, call)

    wrap("fsync")
    wrap("rename")
    wrap("mkdir")
    wrap("open", lambda _path, flags, *_: bool(flags & os.O_CREAT))


def main():
    root, wanted = Path(sys.argv[1]), int(sys.argv[2])
    kill_at(wanted)
    bring_in(ScreeningListFiles(root), "b" * 64, 700, at=2)


if __name__ == "__main__":
    main()
