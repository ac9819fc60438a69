"""A version of a list: what is kept about it, and the checks that it passes before it may come into force.

Pure: the version in force, the clock and what was counted are arguments. A check that fails refuses; some an operator may confirm with
a reason (`Defect`), since publishers do delist a third of a list or return to an earlier one.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from safeconduct.identity.screening.sources.formats import ListFormat
from safeconduct.identity.screening.sources.reading import Defect, Reading, refuse
from safeconduct.kernel.errors import Conflict, InvalidInput

DAY = 86_400
MAX_CANARIES = 200


class SourceFile(msgspec.Struct, frozen=True):
    """A file as it came. role: which of the list's files; size: bytes; sha256: hex, of the file as given, packed or not."""

    role: str
    size: int
    sha256: str


class ListSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the operator runs one list.

    max_age: days until a version no longer shows that somebody is not listed (None: the list's own). canaries: names that every version
    must hold. suspend_from: the band from which on a hit of somebody who holds something stops them at once. max_loss: share of the entries in force that a new version may lack. max_growth: how many times as many it may hold.
    """

    max_age: int | None = None
    canaries: tuple[str, ...] = ()
    max_loss: float = 0.25
    suspend_from: Literal["review", "block"] = "block"
    max_growth: float = 2.0


class ListVersion(msgspec.Struct, frozen=True):
    """One version. sha256: of the file, or of the lines of `sha256sum` over all of them when they are several (`digest_of`).

    entries_sha256: of the entries as they are kept. entries, names: how many. newest: a mark that grows with the list (the newest date
    of listing, or the highest number), to tell an old file under a new date. published: as the file or the operator says, ISO 8601.
    by_list: entries by `list_name`. confirmed: defects that the operator confirmed, and what they were.
    """

    list: str
    sha256: str
    entries_sha256: str
    format: ListFormat
    files: tuple[SourceFile, ...]
    entries: int
    names: int
    imported_at: int
    newest: str = ""
    published: str | None = None
    by_list: dict[str, int] = {}
    confirmed: dict[str, str] = {}
    unknown_places: dict[str, int] = {}
    skipped: dict[str, int] = {}
    damaged: tuple[str, ...] = ()
    encoding: str = "utf-8"


def digest_of(files: Iterable[SourceFile]) -> str:
    """SHA-256 (hex) that names a version.

    Of one file its own; of several, that of the lines `<sha256>  <role>` and a newline each, ordered by role.
    """
    ordered = sorted(files, key=lambda file: file.role)
    if len(ordered) == 1:
        return ordered[0].sha256
    return hashlib.sha256("".join(f"{file.sha256}  {file.role}\n" for file in ordered).encode()).hexdigest()


def published_instant(published: str) -> int:
    """Seconds since the epoch of a publication date or time; of a date its first second, in UTC. Raises InvalidInput."""
    try:
        moment = datetime.datetime.fromisoformat(published)
    except ValueError:
        raise InvalidInput(
            f"{published[:40]!r} is not a date", field="published", remedy="write YYYY-MM-DD"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp())


def settle_published(reading: Reading, given: str | None, *, now: int) -> str | None:
    """The publication date of a new version: what the file says, else what the operator says.

    Raises InvalidInput when they contradict each other by more than a day, or it lies in the future.
    """
    said = reading.published
    if said is None and given is None:
        return None
    instant = published_instant(said if said is not None else str(given))
    if said is not None and given is not None and abs(published_instant(given) - instant) > DAY:
        raise InvalidInput(
            f"the file says that it was published {said[:40]}",
            field="published",
            remedy="leave the option out",
        )
    if instant > now + DAY:
        raise refuse(
            f"it says that it was published in the future ({(said or given or '')[:40]})", field="published"
        )
    return said if said is not None else given


def check_version(
    version: ListVersion,
    before: ListVersion | None,
    *,
    lost: int,
    earlier: Mapping[str, ListVersion],
    settings: ListSettings,
    reading: Reading,
) -> None:
    """Refuse a version that should not come into force after `before`.

    lost: entries of `before` that it does not hold. earlier: versions kept, by the digest of their entries. reading: of the new version;
    it knows what the operator confirmed. Raises InvalidInput, Conflict.
    """
    if before is None:
        if not reading.end_marked:
            reading.defect(
                Defect.UNMARKED_END,
                f"{version.format.value} has no mark of its end and there is no version to compare with: "
                f"{version.entries:,} entries may be all or half",
                field="files",
                remedy="compare the count with what the publisher says, or take the publisher's XML or JSON",
            )
        return
    if version.published is not None and before.published is not None:
        older = published_instant(version.published) < published_instant(before.published)
        if older:
            raise Conflict(
                f"it was published {version.published[:40]}, before the version in force ({before.published[:40]})",
                field="files",
                remedy="to go back to an earlier version, roll back",
            )
    same = earlier.get(version.entries_sha256)
    if same is not None and same.entries_sha256 != before.entries_sha256:
        reading.defect(
            Defect.RETURNED_CONTENT,
            f"these are the entries of the earlier version {same.sha256[:12]}, under a new date or file",
            field="files",
            remedy="to go back to an earlier version, roll back",
        )
    if (
        version.newest
        and before.newest
        and version.format == before.format
        and version.newest < before.newest
    ):
        reading.defect(
            Defect.OLDER_CONTENT,
            f"its newest entry ({version.newest}) is older than that of the version in force ({before.newest})",
            field="files",
        )
    if (
        lost > settings.max_loss * before.entries
        or version.entries < (1 - settings.max_loss) * before.entries
    ):
        reading.defect(
            Defect.ENTRIES_LOST,
            f"{lost:,} of the {before.entries:,} entries in force are missing, "
            f"more than the {settings.max_loss:.0%} that are taken without asking",
            field="files",
        )
    if version.entries > settings.max_growth * before.entries + 100:
        reading.defect(
            Defect.ENTRIES_GREW,
            f"{version.entries:,} entries after {before.entries:,}",
            field="files",
            remedy="check that it is the same list",
        )
