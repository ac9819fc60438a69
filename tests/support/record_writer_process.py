"""A control process for the fault tests: opens the shared record, writes from threads, prints what was acknowledged until killed.

Usage: python record_writer_process.py URL MIRROR KEY_FILE NAME
Lines on standard output: `ready`, `sequencing EPOCH`, then `POSITION NAME` after each acknowledgement, each in one write.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from safeconduct.app.shared_record import SharedRecordKeeper
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import FileKeyWrapper, FileSigner
from safeconduct.kernel.vocabulary import SubjectKind
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.postgres_record import PostgresRecordLog


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def write(record: SharedRecordKeeper, name: str) -> None:
    number = 0
    while True:
        number += 1
        subject = f"{name}.{number}"
        event = SubjectEnrolled(subject=SubjectId(f"sub_{subject}"), kind=SubjectKind.HUMAN)
        while True:
            try:
                position = record.commit([event], once=subject)
                break
            except LogUnavailable:
                time.sleep(0.05)
        say(f"{position} {subject}")


def main() -> None:
    url, mirror, key, name = sys.argv[1:]
    log = PostgresRecordLog.open(
        DatabaseUrl.parse(url),
        FileLogDirectory(Path(mirror)),
        origin="test.example/record",
        signer=FileSigner.from_pem(Path(key).read_bytes()),
        wrapper=FileKeyWrapper(b"r" * 32),
        clock=SystemClock(),
        create=True,
        checkpoint_interval=0.02,
        retry=0.05,
        stall=0.7,
        timeout=3.0,
    )
    record = SharedRecordKeeper(log, clock=SystemClock())
    say("ready")
    for thread in range(3):
        threading.Thread(target=write, args=(record, f"{name}-{thread}"), daemon=True).start()
    before = None
    while True:
        if log.sequencer.epoch != before:
            before = log.sequencer.epoch
            say(f"sequencing {before}")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
