"""Run by a test inside a mount namespace of its own: mount a small tmpfs, fill it, and see what an instance still does there.

Usage: python full_disk_process.py DIRECTORY MEGABYTES
Prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from safeconduct.bootstrap import initialise_instance, open_instance
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.ids import PassportId, SubjectId
from safeconduct.kernel.vocabulary import PassportStatus, SubjectKind
from safeconduct.record.events.holders import PassportStatusChanged, SubjectEnrolled
from safeconduct.settings import read_settings


def fill(path: Path) -> None:
    """Write until nothing more goes onto the disk."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 4096, 1):
            while True:
                try:
                    if not file.write(b"x" * size):
                        break
                except OSError:
                    break


def main() -> None:
    place, megabytes = Path(sys.argv[1]), sys.argv[2]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], check=True)
    settings = read_settings({}, home=place, gateway_port=0, api_port=0)
    initialise_instance(settings, profile="development", packs=())
    said: dict[str, object] = {"reserve": (settings.record_directory / "reserve").stat().st_size}
    with open_instance(settings) as opened:
        record = opened.instance.record
        record.commit([SubjectEnrolled(subject=SubjectId("sub_x"), kind=SubjectKind.HUMAN)])
        # The decision log writes until there is no room left for it, as a flood of requests would have it.
        decisions = 0
        try:
            while opened.decision_log.full is None:
                opened.decision_log.wait_durable_sync(opened.decision_log.submit(b"d" * 2_000), 30)
                decisions += 1
        except LogUnavailable as error:
            said["stopped"] = str(error)
        said["decisions"] = decisions
        said["full"] = str(opened.decision_log.full)
        # Then somebody else fills the rest to the last byte.
        fill(place / "filler")
        said["failed_before"] = str(opened.record_log.failed)
        revoked = 0
        try:
            for number in range(60):
                record.commit(
                    [
                        PassportStatusChanged(
                            passport=PassportId(f"pp_{number}"),
                            status=PassportStatus.INVALID,
                            cause="test",
                            by="operator",
                            at=1,
                        )
                    ]
                )
                opened.record_log.checkpoint(force=True)
                revoked += 1
                fill(place / "filler") if number % 20 == 0 else None
        except LogUnavailable as error:
            said["refused"] = str(error)
        said["revoked"] = revoked
        said["reserve_left"] = (settings.record_directory / "reserve").stat().st_size
    (place / "filler").unlink()
    with open_instance(settings) as opened:
        entries = list(opened.record_log.read(0, opened.record_log.durable_size))
        said["kept"] = sum(b"passport_status_changed" in entry for entry in entries)
        said["reserve_again"] = (settings.record_directory / "reserve").stat().st_size
        said["notes"] = list(opened.record_log.notes)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
