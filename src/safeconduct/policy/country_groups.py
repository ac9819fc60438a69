"""Country groups of the Export Administration Regulations, read from the regulation's own XML (15 CFR part 740, supplement 1).

Owns what counts as that file: the tables of groups D and E, in the mark-up of the eCFR (TABLE) or of the annual edition (GPOTABLE).
Refuses to type a group by hand, to guess a country, and anything that is not the whole supplement. What a row leaves blank is
recorded as no membership and as nothing more: a blank is not a permit.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

import msgspec

from safeconduct.identity.screening.sources.countries import country_code
from safeconduct.kernel.errors import InvalidInput

MAX_BYTES: Final = 16 << 20
MAX_DEPTH: Final = 64
NEEDED: Final = ("D:5", "E:1", "E:2")
_GROUP: Final = re.compile(r"\[?\s*([DE])\s*:\s*([1-9])\s*\]?")
_TITLE: Final = re.compile(r"supplement\s+no\.?\s*1\s+to\s+part\s+740", re.IGNORECASE)
_MARK: Final = re.compile(r"[Xx]\s*\d{0,2}")
_ROWS: Final = frozenset({"TR", "ROW"})
_HEADS: Final = frozenset({"TH", "CHED"})
_CELLS: Final = frozenset({"TD", "ENT"})
_TABLES: Final = frozenset({"TABLE", "GPOTABLE"})
# Footnote marks and their texts are no part of a country's name.
_NOTES: Final = frozenset({"SU", "SUP", "FTREF", "TNOTE"})
_REMEDY: Final = "give title 15, part 740, supplement no. 1 as the eCFR serves it in XML, whole and unchanged"


class CountryGroups(msgspec.Struct, frozen=True):
    """groups: by ISO 3166-1 alpha-2, the groups D and E that a country is marked for; every country of the tables is a key.

    unmatched: rows without such a mark whose name has no code.
    """

    groups: dict[str, tuple[str, ...]]
    unmatched: tuple[str, ...] = ()


class _Reader:
    """Collects headings and rows of the tables; `text` is the cell under way."""

    def __init__(self) -> None:
        self.titled = False
        self.tables: list[tuple[list[str], list[list[str]]]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._title: list[str] = []
        self._row: list[str] = []
        self._heads: list[str] = []
        self._open = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        name = name.upper()
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise InvalidInput("nested too deeply", field="document", remedy=_REMEDY)
        if name in _TABLES:
            self._open += 1
            self._heads, rows = [], list[list[str]]()
            self.tables.append((self._heads, rows))
        elif name in _ROWS:
            self._row = []
        elif name in _HEADS or name in _CELLS:
            self._text = []

    def end(self, _: str) -> None:
        name = self._path.pop()
        if name in _TABLES:
            self._open -= 1
        elif self._open and name in _HEADS:
            self._heads.append(" ".join("".join(self._text).split()))
        elif self._open and name in _CELLS:
            self._row.append(" ".join("".join(self._text).split()))
        elif self._open and name in _ROWS and self._row:
            self.tables[-1][1].append(self._row)
            self._row = []
        elif name == "HEAD":
            self.titled = self.titled or bool(_TITLE.search("".join(self._title)))
            self._title = []

    def characters(self, text: str) -> None:
        if "HEAD" in self._path:
            self._title.append(text)
        if not _NOTES.intersection(self._path):
            self._text.append(text)


def _refuse(what: str) -> None:
    raise InvalidInput(f"the file holds {what}", field="document", remedy=_REMEDY)


def read_country_groups(data: bytes) -> CountryGroups:
    """Read the supplement. Raises InvalidInput naming the row: not XML, another document, half a table, an unknown mark."""
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"larger than {MAX_BYTES} bytes", field="document", remedy=_REMEDY)
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a document type")
    parser.EntityDeclHandler = lambda *_: _refuse("an entity")
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        why = expat.ErrorString(error.code) or "malformed"
        raise InvalidInput(f"not XML: {why}", field=f"line {error.lineno}", remedy=_REMEDY) from None
    if not reader.titled:
        raise InvalidInput("this is not supplement no. 1 to part 740", field="document", remedy=_REMEDY)
    return _groups_of(reader.tables)


def _groups_of(tables: list[tuple[list[str], list[list[str]]]]) -> CountryGroups:
    groups: dict[str, set[str]] = {}
    seen: set[str] = set()
    unmatched: list[str] = []
    for heads, rows in tables:
        columns = [_GROUP.search(head) for head in heads]
        codes = [f"{found[1]}:{found[2]}" if found else "" for found in columns]
        if not any(codes):
            continue
        if not rows:
            raise InvalidInput("a table of groups has no rows", field=", ".join(heads)[:100], remedy=_REMEDY)
        seen.update(code for code in codes if code)
        for place, row in enumerate(rows, start=1):
            name, marks = _marks_of(row, codes, f"{next(filter(None, codes))} row {place}")
            country = country_code(name)
            if country is None and marks:
                # Leaving a marked row out would let in whom the regulation keeps out.
                raise InvalidInput(
                    f"no country is known as {name[:60]!r}", field=f"row {place}", remedy="tell the operator"
                )
            if country is None:
                unmatched.append(name)
            else:
                groups.setdefault(country, set()).update(marks)
    missing = [code for code in NEEDED if code not in seen]
    if missing:
        raise InvalidInput(f"the columns {', '.join(missing)} are missing", field="document", remedy=_REMEDY)
    for code in NEEDED:
        if not any(code in held for held in groups.values()):
            raise InvalidInput(f"nobody is marked for {code}", field="document", remedy=_REMEDY)
    return CountryGroups(
        {country: tuple(sorted(held)) for country, held in sorted(groups.items())}, tuple(unmatched)
    )


def _marks_of(row: list[str], codes: list[str], where: str) -> tuple[str, list[str]]:
    if len(row) != len(codes) or codes[0]:
        raise InvalidInput(f"{len(row)} cells under {len(codes)} headings", field=where, remedy=_REMEDY)
    name, *cells = row
    marks = []
    for code, cell in zip(codes[1:], cells, strict=True):
        if cell and not _MARK.fullmatch(cell):
            raise InvalidInput(f"{cell[:20]!r} is neither X nor blank", field=where, remedy=_REMEDY)
        if cell and code:
            marks.append(code)
    return re.sub(r"\s*\d{1,2}$", "", name), marks
