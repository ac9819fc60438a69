"""The fuzz target of screening lists: whatever a file holds, it is read whole into entries that keep their bounds, or refused.

The first byte chooses the format, so that one target drives every reader.
"""

from __future__ import annotations

import io

import msgspec
from tests.support.screening_lists import (
    CSL_CSV,
    CSL_JSON,
    EU_XML,
    FTM,
    OFAC_PRIMARY,
    UK_CSV,
    UK_XML,
    UN_FULL,
    ofac_xml,
    zipped,
)

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.sources.archive import unpack
from safeconduct.identity.screening.sources.formats import ListFormat, read_list, roles_of
from safeconduct.identity.screening.sources.reading import MAX_NAME, Defect, Reading
from safeconduct.kernel.errors import InvalidInput

FORMATS = tuple(ListFormat)
_FILES = {
    ListFormat.OFAC_CSV: OFAC_PRIMARY,
    ListFormat.OFAC_XML: ofac_xml(),
    ListFormat.UN_XML: UN_FULL,
    ListFormat.EU_XML: EU_XML,
    ListFormat.UK_CSV: UK_CSV,
    ListFormat.UK_XML: UK_XML,
    ListFormat.CSL_CSV: CSL_CSV,
    ListFormat.CSL_JSON: CSL_JSON,
    ListFormat.FTM: FTM,
}
SEEDS = (
    *(bytes([number]) + _FILES[each] for number, each in enumerate(FORMATS)),
    b"\xff" + zipped(("un.xml", UN_FULL)),
)
WORDS = (
    b"<!DOCTYPE x [",
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"</",
    b'"',
    b"\x1a",
    b"\x00",
    b"\xff\xfe",
    b"-0- ",
    b"[" * 200,
    b"\r\n",
    b"\xef\xbf\xbd",
)
_CONFIRMED = (Defect.MISSING_FILE, Defect.REPLACEMENT_CHARACTER)


def _read(format: ListFormat, pieces: list[bytes]) -> list[ListEntry] | None:
    try:
        return list(read_list(format, {roles_of(format)[0]: iter(pieces)}, Reading(_CONFIRMED)))
    except InvalidInput as error:
        refused = error
    assert refused.message, "a refusal says why"
    assert refused.field, "a refusal says where"
    return None


def check_lists(data: bytes) -> None:
    """Raises AssertionError on a broken promise, and whatever a reader lets through."""
    if not data:
        return
    if data[0] == 255:
        try:
            data = b"\x02" + b"".join(unpack(io.BytesIO(data[1:]), limit=1 << 20))
        except InvalidInput:
            return
    format = FORMATS[data[0] % len(FORMATS)]
    body = data[1:]
    whole = _read(format, [body])
    parts = _read(format, [body[start : start + 7] for start in range(0, len(body), 7)])
    assert whole == parts, "a file in pieces is the same file"
    if whole is None:
        return
    assert whole, "a list without entries is refused"
    assert len({entry.id for entry in whole}) == len(whole), "an id stands once"
    for entry in whole:
        assert entry.names, "an entry has a name"
        for name in entry.names:
            assert 0 < len(name.text) <= MAX_NAME, "a name keeps its bounds"
            assert name.text == " ".join(name.text.split()), "a name is one line"
        assert all(len(code) == 2 and code.isupper() for code in entry.countries), "a country is a code"
        assert all(date.first <= date.last or date.last in date.first for date in entry.birth_dates), (
            "a range is in order"
        )
    packed = msgspec.json.encode(whole)
    assert msgspec.json.decode(packed, type=list[ListEntry]) == whole, "entries are kept as they are"
