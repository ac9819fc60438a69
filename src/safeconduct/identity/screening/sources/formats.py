"""Which list comes in which formats, which files each needs, and how old a version may grow.

Owns the names of lists. A list of somebody's own, or of a subscription, is `ftm.<name>` and comes as FollowTheMoney.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping

import msgspec

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.sources.reading import Chunks, Defect, Reading, refuse
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.suggest import did_you_mean


class ListFormat(enum.StrEnum):
    """How a publisher writes its list."""

    OFAC_CSV = "ofac-csv"
    OFAC_XML = "ofac-xml"
    UN_XML = "un-xml"
    EU_XML = "eu-xml"
    UK_CSV = "uk-csv"
    UK_XML = "uk-xml"
    CSL_CSV = "csl-csv"
    CSL_JSON = "csl-json"
    FTM = "ftm"


class ListSource(msgspec.Struct, frozen=True):
    """A list that can be imported. max_age: days after which a version no longer shows that somebody is not listed."""

    name: str
    title: str
    formats: tuple[ListFormat, ...]
    max_age: int = 7


FILE = "file"
_ROLES = {ListFormat.OFAC_CSV: ("primary", "addresses", "aliases", "comments")}
_OPTIONAL = frozenset({"comments"})
_OFAC_FILES = {
    "primary": ("sdn.csv", "cons_prim.csv"),
    "addresses": ("add.csv", "cons_add.csv"),
    "aliases": ("alt.csv", "cons_alt.csv"),
    "comments": ("sdn_comments.csv", "cons_comments.csv"),
}
_OFAC = (ListFormat.OFAC_CSV, ListFormat.OFAC_XML)
_KNOWN = {
    source.name: source
    for source in (
        ListSource("us.ofac.sdn", "OFAC Specially Designated Nationals", _OFAC),
        ListSource("us.ofac.consolidated", "OFAC Consolidated (non-SDN)", _OFAC),
        ListSource("un.sc", "United Nations Security Council Consolidated List", (ListFormat.UN_XML,)),
        ListSource("eu.fsf", "European Union consolidated financial sanctions", (ListFormat.EU_XML,)),
        ListSource("uk.sanctions", "UK Sanctions List", (ListFormat.UK_CSV, ListFormat.UK_XML)),
        ListSource(
            "us.csl", "United States Consolidated Screening List", (ListFormat.CSL_CSV, ListFormat.CSL_JSON)
        ),
    )
}
_OWN = re.compile(r"ftm\.[a-z0-9][a-z0-9_-]{0,59}\Z")


def list_names() -> tuple[str, ...]:
    """Names of the publishers' lists, ordered."""
    return tuple(sorted(_KNOWN))


def list_source(name: str) -> ListSource:
    """The list of that name. Raises NotFound that says what was meant."""
    found = _KNOWN.get(name)
    if found is not None:
        return found
    if _OWN.match(name):
        return ListSource(name, name.removeprefix("ftm."), (ListFormat.FTM,))
    raise NotFound(
        f"there is no list {name[:80]!r}{did_you_mean(name, _KNOWN)}",
        field="list",
        remedy=f"one of: {', '.join(sorted(_KNOWN))}, or ftm.<name> for FollowTheMoney entities",
    )


def roles_of(format: ListFormat) -> tuple[str, ...]:
    """The files of a format, the one with the entries first."""
    return _ROLES.get(format, (FILE,))


def role_of(format: ListFormat, name: str) -> str:
    """Which file of a format a name stands for: the publisher's own file name, or the role itself. Raises InvalidInput."""
    roles = roles_of(format)
    if roles == (FILE,):
        return FILE
    plain = name.rpartition("/")[2].lower().removesuffix(".zip")
    for role in roles:
        if plain == role or plain in _OFAC_FILES[role]:
            return role
    known = ", ".join(names[0] for names in _OFAC_FILES.values())
    raise InvalidInput(
        f"{plain[:80]!r} is none of the files of {format.value}",
        field="files",
        remedy=f"keep the publisher's names ({known} ...), or say which is which: primary=PATH",
    )


def detect(source: ListSource, head: bytes) -> ListFormat:
    """The format of a list's file by its first bytes; the list says which come into question."""
    if len(source.formats) == 1:
        return source.formats[0]
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    ending = "xml" if start == b"<" else "json" if start in {b"{", b"["} else "csv"
    for each in source.formats:
        if each.value.endswith(ending):
            return each
    raise refuse(f"the file is none of: {', '.join(source.formats)}", field=FILE)


def read_list(format: ListFormat, files: Mapping[str, Chunks], reading: Reading) -> Iterator[ListEntry]:
    """Entries of a list. files: by role. reading: filled while entries come.

    Errors: InvalidInput (a file of the format is missing, or whatever its reader refuses).
    """
    roles = roles_of(format)
    unknown = sorted(set(files) - set(roles))
    if unknown:
        raise InvalidInput(
            f"{format.value} has no file {unknown[0]!r}", field="files", remedy=f"its files: {roles}"
        )
    if roles[0] not in files:
        raise InvalidInput(f"the file {roles[0]!r} of {format.value} is missing", field="files")
    for role in roles[1:]:
        if role not in files and role not in _OPTIONAL:
            reading.defect(
                Defect.MISSING_FILE,
                f"the file {role!r} is missing: its names and places would not be found",
                field="files",
                remedy=f"give it too ({_OFAC_FILES[role][0]})",
            )
    return _reader(format, files, reading)


def _reader(format: ListFormat, files: Mapping[str, Chunks], reading: Reading) -> Iterator[ListEntry]:
    # Each reader is loaded when it is needed: a command that only shows what is in force needs none.
    from safeconduct.identity.screening.sources import (  # noqa: PLC0415
        csl,
        eu_xml,
        ftm_lines,
        ofac_csv,
        ofac_xml,
        uk_csv,
        uk_xml,
        un_xml,
    )

    if format is ListFormat.OFAC_CSV:
        return ofac_csv.read_ofac_csv(
            files["primary"],
            files.get("addresses"),
            files.get("aliases"),
            files.get("comments"),
            reading=reading,
        )
    readers = {
        ListFormat.OFAC_XML: ofac_xml.read_ofac_xml,
        ListFormat.UN_XML: un_xml.read_un_xml,
        ListFormat.EU_XML: eu_xml.read_eu_xml,
        ListFormat.UK_CSV: uk_csv.read_uk_csv,
        ListFormat.UK_XML: uk_xml.read_uk_xml,
        ListFormat.CSL_CSV: csl.read_csl_csv,
        ListFormat.CSL_JSON: csl.read_csl_json,
        ListFormat.FTM: ftm_lines.read_ftm_lines,
    }
    return readers[format](files[FILE], reading=reading)
