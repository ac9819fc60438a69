"""What every reader of a list has in common: bounds, cleaned text, and what it found out about the file.

Owns the bounds and the words of refusals. A file is read whole or refused: no reader leaves out a record it cannot read.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from safeconduct.identity.screening.entry import ListedName, NameKind
from safeconduct.identity.screening.sources.countries import country_code
from safeconduct.kernel.errors import InvalidInput

MAX_NAME = 1_000
MAX_TEXT = 64_000
MAX_ENTRIES = 5_000_000
MAX_PARTS_OF_ENTRY = 5_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOST = "\ufffd"
_AGAIN = "fetch the file again from its publisher and import that"

Chunks = Iterable[bytes]
_T = TypeVar("_T")


class Defect(enum.StrEnum):
    """What is wrong with a file that reads well otherwise. An operator may confirm each with a reason; unasked, it refuses.

    END_MARKER: the mark of the file's end is not there. ORPHAN_ROWS: rows belong to entries that the main file does not hold.
    REPLACEMENT_CHARACTER: names hold U+FFFD, so letters were lost when the file was made. Publishers have lost a letter or two of one
    name; a whole file of it, or an entry with no other name, is a broken file. MISSING_FILE: a file that belongs to the list is not there.
    UNMARKED_END: the format has no mark of its end and there is no version in force to compare with. ENTRIES_LOST, ENTRIES_GREW: far
    fewer or more entries than the version in force. OLDER_CONTENT: its newest entry is older than that version's. RETURNED_CONTENT: the
    very content of an earlier version.
    """

    END_MARKER = "end_marker"
    ORPHAN_ROWS = "orphan_rows"
    REPLACEMENT_CHARACTER = "replacement_character"
    MISSING_FILE = "missing_file"
    UNMARKED_END = "unmarked_end"
    ENTRIES_LOST = "entries_lost"
    ENTRIES_GREW = "entries_grew"
    OLDER_CONTENT = "older_content"
    RETURNED_CONTENT = "returned_content"


class Reading:
    """What a reader found out about one publication. Complete only once the reader's iterator has ended.

    published: date or time of publication as the file says it, ISO 8601, None when it does not. defects: what an operator may
    confirm, each with where it was seen first. unknown_places: what was written where a country belongs and has no code, counted.
    end_marked: the format has a mark of its end, so a file that was cut cannot be taken for a whole one. skipped: records that name nobody
    (an address, a sanction), counted by what they are.
    """

    def __init__(self, confirmed: Iterable[Defect] = ()) -> None:
        self.published: str | None = None
        self.defects: dict[Defect, str] = {}
        self.unknown_places: Counter[str] = Counter()
        self.encoding = "utf-8"
        self.end_marked = True
        self.skipped: Counter[str] = Counter()
        self.names = 0
        self.damaged: list[str] = []
        self._confirmed = frozenset(confirmed)

    def defect(self, defect: Defect, where: str, *, field: str, remedy: str = _AGAIN) -> None:
        """Note a defect that was confirmed; refuse one that was not. Errors: InvalidInput."""
        if defect not in self._confirmed:
            raise InvalidInput(
                where,
                field=field,
                remedy=f"{remedy}; if the file is right as it is, confirm `{defect.value}` with a reason",
            )
        self.defects.setdefault(defect, f"{field}: {where}")

    def country(self, written: str) -> str | None:
        """ISO 3166-1 alpha-2 of a country's name or code; what has none is counted and stays in the entry's remarks."""
        code = country_code(written)
        if code is None and written:
            self.unknown_places[written[:100]] += 1
        return code

    def name(
        self,
        written: str,
        kind: NameKind,
        *,
        field: str,
        parts: tuple[tuple[str, str], ...] = (),
        original_script: bool = False,
    ) -> ListedName:
        """A cleaned name. Errors: InvalidInput when it is empty or too long to be one."""
        text = clean(written, field=field)
        if not text:
            raise refuse("an empty name", field=field)
        if len(text) > MAX_NAME:
            raise refuse(f"a name of {len(text):,} characters (at most {MAX_NAME:,})", field=field)
        self.names += 1
        if _LOST in text:
            self.damaged.append(field)
        return ListedName(text, kind, parts, original_script)

    def check_names(self, names: Iterable[ListedName], *, field: str) -> None:
        """Refuse an entry that could not be found under any of its names (unless confirmed). Errors: InvalidInput."""
        if all(_LOST in name.text for name in names):
            self.defect(
                Defect.REPLACEMENT_CHARACTER,
                "every name of the entry holds U+FFFD: letters were lost when the file was made",
                field=field,
            )

    def finish(self) -> None:
        """What can be judged only at the end: whether damaged names are an exception. Errors: InvalidInput."""
        if len(self.damaged) > max(5, self.names // 1_000):
            self.defect(
                Defect.REPLACEMENT_CHARACTER,
                f"{len(self.damaged):,} of {self.names:,} names hold U+FFFD: the file went through a wrong encoding",
                field=self.damaged[0],
            )


def refuse(message: str, *, field: str, remedy: str = _AGAIN) -> InvalidInput:
    """The error of a file that is not read."""
    return InvalidInput(message, field=field, remedy=remedy)


def clean(written: str | None, *, field: str) -> str:
    """One line: white space runs are one space, ends trimmed. Errors: InvalidInput for control characters and overlong text."""
    if not written:
        return ""
    if len(written) > MAX_TEXT:
        raise refuse(f"{len(written):,} characters in one field (at most {MAX_TEXT:,})", field=field)
    if _CONTROL.search(written):
        raise refuse("a control character inside text", field=field)
    return " ".join(written.split())


def bounded(chunks: Chunks, limit: int, *, field: str) -> Iterator[bytes]:
    """The chunks, refused once they are more than limit bytes; an empty file and a web page are refused with their names."""
    seen = 0
    head = b""
    for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            raise refuse(f"more than {limit:,} bytes", field=field, remedy="point to the list itself")
        if len(head) < 1_024:
            head += chunk[: 1_024 - len(head)]
            _refuse_page(head, field)
        yield chunk
    if seen == 0 or not head.strip():
        raise refuse("the file is empty", field=field)


def _refuse_page(head: bytes, field: str) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise refuse(
            "this is a web page, not a list",
            field=field,
            remedy="open the address in a browser: a sign-in or an error page stands where the file should",
        )


def bundle(*texts: str) -> str:
    """Texts joined for remarks, empty ones left out."""
    return "; ".join(text for text in texts if text)


def unique(values: Iterable[_T]) -> tuple[_T, ...]:
    """Each value once, in the order of the first."""
    return tuple(dict.fromkeys(values))


def once(identifier: str, seen: set[str], *, field: str) -> str:
    """The id of an entry, refused when the file used it before or it is none. Errors: InvalidInput."""
    if not identifier or len(identifier) > 200:
        raise refuse("an entry without an id", field=field)
    if identifier in seen:
        raise refuse(f"the id {identifier} is used twice", field=field)
    if len(seen) >= MAX_ENTRIES:
        raise refuse(f"more than {MAX_ENTRIES:,} entries", field=field)
    seen.add(identifier)
    return identifier
