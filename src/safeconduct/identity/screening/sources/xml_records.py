"""Records of an XML file, one at a time, strictly: no document type, no entities, no network, bounded depth and size.

Built on expat as Python ships it. A well-formed end is required: what is cut off before the root closes is refused, not repaired.
Names of elements and attributes are compared without their namespace, because publishers move theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from xml.parsers import expat

from safeconduct.identity.screening.sources.reading import MAX_TEXT, Chunks, bounded, refuse

MAX_XML_BYTES = 1 << 30
MAX_DEPTH = 32
MAX_ATTRIBUTES = 64
MAX_NODES_OF_RECORD = 100_000
_ENCODINGS = {"utf-8", "utf8", "us-ascii", "ascii"}

Path = tuple[str, ...]


class Node:
    """An element of a record: its name, attributes, children in order, and its own text."""

    __slots__ = ("attributes", "children", "name", "pieces")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Node] = []
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """The element's own text in one line, "" when it has none."""
        return " ".join("".join(self.pieces).split())

    def get(self, attribute: str) -> str:
        """An attribute's value in one line, "" when it is not there."""
        return " ".join(self.attributes.get(attribute, "").split())

    def first(self, name: str) -> Node | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def all(self, *names: str) -> Iterator[Node]:
        """Children of the first name, their children of the second, and so on."""
        found = (child for child in self.children if child.name == names[0])
        if len(names) == 1:
            return found
        return (deep for child in found for deep in child.all(*names[1:]))

    def value(self, name: str) -> str:
        """The text of the first child of that name, "" when there is none."""
        child = self.first(name)
        return child.text if child is not None else ""

    def values(self, *names: str) -> list[str]:
        """Texts that are not empty, of the children at that path."""
        return [text for node in self.all(*names) if (text := node.text)]


@functools.lru_cache(maxsize=4_096)
def _local(name: str) -> str:
    return name.rpartition("}")[2]


class _Builder:
    """Builds nodes below the paths that are wanted and forgets everything else at once."""

    def __init__(self, root: str, wanted: Collection[Path], field: str) -> None:
        self._root = root
        self._wanted = frozenset(wanted)
        self._field = field
        self._path: list[str] = []
        self._open: list[Node] = []
        self._nodes = 0
        self._text = 0
        self.ready: list[tuple[Path, Node]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element opens."""
        if len(self._path) >= MAX_DEPTH:
            raise refuse(f"elements nested deeper than {MAX_DEPTH}", field=self._field)
        if len(attributes) > MAX_ATTRIBUTES:
            raise refuse(f"an element with {len(attributes)} attributes", field=self._field)
        local = _local(name)
        if not self._path and local != self._root:
            raise refuse(
                f"the root element is {local[:60]!r}, not {self._root!r}: a file of another format",
                field=self._field,
                remedy="name the right list, or the right format with --format",
            )
        self._path.append(local)
        inside = bool(self._open)
        if not inside and tuple(self._path) not in self._wanted and len(self._path) > 1:
            return
        plain = {_local(key): value for key, value in attributes.items()} if attributes else {}
        for value in plain.values():
            if len(value) > MAX_TEXT:
                raise refuse("an overlong attribute", field=self._field)
        node = Node(local, plain)
        if len(self._path) == 1:
            self.ready.append(((local,), node))
            return
        if not inside:
            self._nodes = 0
        self._nodes += 1
        if self._nodes > MAX_NODES_OF_RECORD:
            raise refuse(f"a record of more than {MAX_NODES_OF_RECORD:,} elements", field=self._field)
        if inside:
            self._open[-1].children.append(node)
        self._open.append(node)
        self._text = 0

    def end(self, _name: str) -> None:
        """An element closes."""
        if self._open:
            node = self._open.pop()
            if not self._open:
                self.ready.append((tuple(self._path), node))
        self._path.pop()
        self._text = 0

    def data(self, text: str) -> None:
        """Text inside an element."""
        if self._open:
            self._text += len(text)
            if self._text > MAX_TEXT:
                raise refuse(f"more than {MAX_TEXT:,} characters in one element", field=self._field)
            self._open[-1].pieces.append(text)


def read_records(
    chunks: Chunks, *, root: str, records: Collection[Path], field: str = "file", limit: int = MAX_XML_BYTES
) -> Iterator[tuple[Path, Node]]:
    """First the root (its attributes only), then every element at one of the paths, whole, in document order.

    records: paths of local names from the root on. Errors: InvalidInput (with line and column where it is about markup).
    """
    builder = _Builder(root, records, field)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def refuse_markup(what: str) -> None:
        raise refuse(
            f"the file declares {what}, which no list needs",
            field=f"{field} line {parser.CurrentLineNumber}",
        )

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise refuse(f"the encoding is declared as {encoding[:40]}, not UTF-8", field=field)

    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = lambda *_: refuse_markup("a document type")
    parser.EntityDeclHandler = lambda *_: refuse_markup("an entity")
    parser.ExternalEntityRefHandler = lambda *_: refuse_markup("an external entity")  # type: ignore[assignment]
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    # UTF-16 is told by its first bytes, before any declaration: the handlers above would hold for it too, but no publisher uses it.
    first = True
    for chunk in bounded(chunks, limit, field=field):
        if first and chunk[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise refuse("the encoding is UTF-16, not UTF-8", field=field)
        first = False
        _feed(parser, chunk, field, final=False)
        yield from _taken(builder)
    _feed(parser, b"", field, final=True)
    yield from _taken(builder)


def _taken(builder: _Builder) -> Iterator[tuple[Path, Node]]:
    ready, builder.ready = builder.ready, []
    yield from ready


def _feed(parser: expat.XMLParserType, chunk: bytes, field: str, *, final: bool) -> None:
    try:
        parser.Parse(chunk, final)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code) or "malformed"
        where = f"{field} line {error.lineno} column {error.offset + 1}"
        if final:
            raise refuse(
                f"the XML ends before its root is closed ({reason}): the file was cut off", field=where
            ) from None
        raise refuse(f"not well-formed XML ({reason})", field=where) from None
