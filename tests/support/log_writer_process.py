"""Run by the crash tests in a process of its own: append from threads and tasks, print what was acknowledged until killed.

Usage: python log_writer_process.py DIRECTORY KEY_FILE [open-only]
Each line on standard output is `index name.sequence`, written after the entry was acknowledged, in one write.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.signing import FileSigner
from safeconduct.storage.log_files import FileLogDirectory

ORIGIN = "test.example/log"
FILLER = b"x" * 200


def acknowledged(index: int, name: bytes) -> None:
    os.write(1, b"%d %s\n" % (index, name))


def from_thread(log: Log, writer: int) -> None:
    sequence = 0
    while True:
        sequence += 1
        name = b"t%d.%d" % (writer, sequence)
        index = log.submit(name + b" " + FILLER)
        log.wait_durable_sync(index)
        acknowledged(index, name)


async def from_task(log: Log, writer: int) -> None:
    sequence = 0
    while True:
        sequence += 1
        name = b"a%d.%d" % (writer, sequence)
        index = log.submit(name + b" " + FILLER)
        await log.wait_durable(index)
        acknowledged(index, name)


async def from_tasks(log: Log) -> None:
    await asyncio.gather(*(from_task(log, writer) for writer in range(30)))


def main() -> int:
    directory, key = Path(sys.argv[1]), Path(sys.argv[2])
    run = os.urandom(4).hex()
    try:
        log = Log.open(
            FileLogDirectory(directory),
            origin=ORIGIN,
            signer=FileSigner.from_pem(key.read_bytes()),
            clock=SystemClock(),
            create=True,
            checkpoint_interval=0.02,
            segment_bytes=200_000,  # so that cutting the write-ahead log is among what is interrupted
        )
    except LogUnavailable as error:
        print(f"refused: {error}", file=sys.stderr)
        return 3
    os.write(1, b"ready %s\n" % run.encode())
    if sys.argv[3:] == ["open-only"]:
        sys.stdin.read()
        log.close()
        return 0
    for writer in range(8):
        threading.Thread(target=from_thread, args=(log, writer), daemon=True).start()
    asyncio.run(from_tasks(log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
