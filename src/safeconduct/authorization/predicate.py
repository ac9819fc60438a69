"""Predicates over verified facts: to whom a directive applies, and whom it exempts (formats.md 4).

Owns the reading of `{all|any|not}` over facts and its evaluation in Kleene's three-valued logic: a fact that was not
disclosed is unknown, never "no". Refuses unknown operators, unknown facts and unknown members by name and path; it never
guesses what an authority meant. No name of a country, organisation or model stands in this code: those are data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import SubjectKind, UsPerson

# Kleene's values, ordered so that AND is min, OR is max and NOT is 2 - x.
FALSE: Final = 0
UNKNOWN: Final = 1
TRUE: Final = 2

MAX_DEPTH: Final = 32
MAX_NODES: Final = 2_000

DEFAULT_REGIME: Final = "ear"

_COUNTRY = re.compile(r"[A-Z]{2}")
_LIST_NAME = re.compile(r"(annex|list):([^\s:][^\s]{0,127})")

OPERATORS: Final = (
    "all",
    "any",
    "not",
    "us_person",
    "citizenship",
    "organisation",
    "employee_of_provider",
    "subject_kind",
    "location",
    "deemed_export",
)
_WITH_REGIME: Final = ("us_person", "deemed_export")


class Facts(msgspec.Struct, frozen=True):
    """What is known of the person or agent a predicate is asked about. None means not disclosed or not known.

    us_person, deemed_export: pairs (regime, value), as in the passport's claims. location: ISO 3166-1 alpha-2 of the network address.
    employee_of_provider: whether the person belongs to the organisation of the provider of the variant asked for.
    """

    us_person: tuple[tuple[str, UsPerson], ...] = ()
    citizenships: tuple[str, ...] | None = None
    organisation: OrganisationId | None = None
    employee_of_provider: bool | None = None
    subject_kind: SubjectKind | None = None
    location: str | None = None
    deemed_export: tuple[tuple[str, tuple[str, ...]], ...] = ()


Members = frozenset[OrganisationId]
Annexes = Mapping[str, Members]
FindList = Callable[[str], Members | None]


class AllOf(msgspec.Struct, frozen=True, tag="all"):
    """True when every part is; an empty one is true of everybody."""

    parts: tuple[Predicate, ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    """True when at least one part is."""

    parts: tuple[Predicate, ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """True when the part is false; unknown stays unknown."""

    part: Predicate


class IsUsPerson(msgspec.Struct, frozen=True, tag="us_person"):
    """The derived status under a regime; an undeclared one is unknown to `yes` and `no`."""

    value: UsPerson
    regime: str = DEFAULT_REGIME


class CitizenshipIn(msgspec.Struct, frozen=True, tag="citizenship"):
    """At least one citizenship held is among these."""

    countries: frozenset[str]


class OrganisationIn(msgspec.Struct, frozen=True, tag="organisation"):
    """The organisation stands, itself, on the annex or list. Membership is never inherited from an owner."""

    source: str
    name: str


class EmployeeOfProvider(msgspec.Struct, frozen=True, tag="employee_of_provider"):
    """The person belongs to the provider's own organisation."""

    value: bool


class SubjectKindIn(msgspec.Struct, frozen=True, tag="subject_kind"):
    """What kind of subject asks."""

    kinds: frozenset[SubjectKind]


class LocationIn(msgspec.Struct, frozen=True, tag="location"):
    """Where the network address lies: evidence, never proof."""

    countries: frozenset[str]


class DeemedExportTo(msgspec.Struct, frozen=True, tag="deemed_export"):
    """Showing the person controlled technology counts, under the regime, as an export to one of these; never for US persons.

    Of somebody who is not known to be one it is unknown while the countries were not disclosed.
    """

    countries: frozenset[str]
    regime: str = DEFAULT_REGIME


Predicate = (
    AllOf
    | AnyOf
    | Not
    | IsUsPerson
    | CitizenshipIn
    | OrganisationIn
    | EmployeeOfProvider
    | SubjectKindIn
    | LocationIn
    | DeemedExportTo
)

EVERYBODY: Final = AllOf(parts=())

# The operator as documents spell it.
All = AllOf


def parse(data: Any, path: str = "applies_to") -> Predicate:
    """Read a predicate from JSON data. Raises InvalidInput whose field is the JSON path of what is wrong."""
    return _parse(data, path, 0, [0])


def parse_exceptions(data: Any, path: str = "except") -> tuple[Predicate, ...]:
    """Read a list of predicates. Raises InvalidInput whose field is the JSON path of what is wrong."""
    if not isinstance(data, list | tuple):
        raise InvalidInput("a list of predicates is expected", field=path, remedy='write "except": [...]')
    count = [0]
    return tuple(_parse(part, f"{path}[{index}]", 0, count) for index, part in enumerate(data))


def _parse(data: Any, path: str, depth: int, count: list[int]) -> Predicate:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise InvalidInput("the predicate is too deep or too large", field=path, remedy="flatten it")
    if not isinstance(data, dict):
        raise InvalidInput(
            "a predicate is an object with one operator",
            field=path,
            remedy=f"use one of {', '.join(OPERATORS)}",
        )
    qualified = any(name in data for name in _WITH_REGIME)
    names = [name for name in data if name != "regime"] if qualified else list(data)
    if len(names) != 1:
        raise InvalidInput(
            f"a predicate has exactly one operator, this has {len(names)}",
            field=path,
            remedy='join several with {"all": [...]} or {"any": [...]}',
        )
    name = names[0]
    value = data[name]
    here = f"{path}.{name}"
    match name:
        case "all" | "any":
            if not isinstance(value, list | tuple):
                raise InvalidInput("a list of predicates is expected", field=here)
            if name == "any" and not value:
                raise InvalidInput(
                    "an empty `any` is true of nobody", field=here, remedy="list what is meant"
                )
            parts = tuple(
                _parse(part, f"{here}[{index}]", depth + 1, count) for index, part in enumerate(value)
            )
            return AllOf(parts) if name == "all" else AnyOf(parts)
        case "not":
            return Not(_parse(value, here, depth + 1, count))
        case "us_person":
            return _parse_us_person(value, data.get("regime", DEFAULT_REGIME), path)
        case "citizenship":
            return CitizenshipIn(_parse_countries(value, here))
        case "organisation":
            return _parse_organisation(value, here)
        case "employee_of_provider":
            if not isinstance(value, bool):
                raise InvalidInput("true or false is expected", field=here)
            return EmployeeOfProvider(value)
        case "subject_kind":
            return _parse_kinds(value, here)
        case "location":
            return LocationIn(_parse_countries(value, here))
        case "deemed_export":
            regime = _parse_regime(data.get("regime", DEFAULT_REGIME), path)
            return DeemedExportTo(_parse_countries(value, here), regime)
        case _:
            raise InvalidInput(
                f"unknown operator {str(name)[:60]!r}{did_you_mean(str(name), OPERATORS)}",
                field=f"{path}.{str(name)[:60]}",
                remedy=f"use one of {', '.join(OPERATORS)}",
            )


def _parse_us_person(value: Any, regime: Any, path: str) -> Predicate:
    if not isinstance(value, str) or value not in UsPerson.__members__.values():
        raise InvalidInput("`yes`, `no` or `undeclared` is expected", field=f"{path}.us_person")
    return IsUsPerson(UsPerson(value), _parse_regime(regime, path))


def _parse_regime(regime: Any, path: str) -> str:
    if not isinstance(regime, str) or not regime:
        raise InvalidInput("the name of a regime is expected", field=f"{path}.regime")
    return regime


def _members_of_in(value: Any, path: str) -> list[Any]:
    """The list under the one operator `in`."""
    if not isinstance(value, dict) or list(value) != ["in"]:
        found = next((str(name) for name in value if name != "in"), "") if isinstance(value, dict) else ""
        raise InvalidInput(
            f"unknown operator {found[:60]!r}" if found else "an object with `in` is expected",
            field=f"{path}.{found[:60]}" if found else path,
            remedy='write {"in": [...]}',
        )
    members = value["in"]
    if not isinstance(members, list | tuple) or not members:
        raise InvalidInput("a list with at least one member is expected", field=f"{path}.in")
    return list(members)


def _parse_countries(value: Any, path: str) -> frozenset[str]:
    members = _members_of_in(value, path)
    for index, country in enumerate(members):
        if not isinstance(country, str) or not _COUNTRY.fullmatch(country):
            raise InvalidInput(
                f"{str(country)[:20]!r} is not a country code",
                field=f"{path}.in[{index}]",
                remedy="use ISO 3166-1 alpha-2, upper case",
            )
    return frozenset(members)


def _parse_kinds(value: Any, path: str) -> Predicate:
    members = [value] if isinstance(value, str) else _members_of_in(value, path)
    known = [kind.value for kind in SubjectKind]
    for index, kind in enumerate(members):
        if kind not in known:
            raise InvalidInput(
                f"unknown kind of subject {str(kind)[:40]!r}{did_you_mean(str(kind), known)}",
                field=path if isinstance(value, str) else f"{path}.in[{index}]",
                remedy=f"use one of {', '.join(known)}",
            )
    return SubjectKindIn(frozenset(SubjectKind(kind) for kind in members))


def _parse_organisation(value: Any, path: str) -> Predicate:
    if not isinstance(value, dict) or list(value) != ["in"]:
        found = next((str(name) for name in value if name != "in"), "") if isinstance(value, dict) else ""
        raise InvalidInput(
            f"unknown operator {found[:60]!r}" if found else "an object with `in` is expected",
            field=f"{path}.{found[:60]}" if found else path,
            remedy='write {"in": "annex:<name>"} or {"in": "list:<id>"}',
        )
    named = _LIST_NAME.fullmatch(value["in"]) if isinstance(value["in"], str) else None
    if named is None:
        raise InvalidInput(
            "an annex or a list is expected",
            field=f"{path}.in",
            remedy='write "annex:<name>" or "list:<id>"',
        )
    return OrganisationIn(named[1], named[2])


def _us_person(facts: Facts, regime: str) -> UsPerson:
    for name, status in facts.us_person:
        if name == regime:
            return status
    return UsPerson.UNDECLARED


def _deemed_export(predicate: DeemedExportTo, facts: Facts) -> int:
    status = _us_person(facts, predicate.regime)
    if status is UsPerson.YES:
        return FALSE
    countries = next((held for name, held in facts.deemed_export if name == predicate.regime), ())
    if not countries:
        return UNKNOWN
    if predicate.countries.isdisjoint(countries):
        return FALSE
    return TRUE if status is UsPerson.NO else UNKNOWN


def evaluate(predicate: Predicate, facts: Facts, annexes: Annexes, find_list: FindList) -> int:
    """FALSE, UNKNOWN or TRUE.

    annexes: of the document the predicate stands in, resolved to organisations. find_list: an OrgList's members now, or
    None when there is no such list in force; membership of what cannot be looked up is unknown.
    """
    if isinstance(predicate, IsUsPerson):
        status = _us_person(facts, predicate.regime)
        if status == predicate.value:
            return TRUE
        return UNKNOWN if status == UsPerson.UNDECLARED else FALSE
    if isinstance(predicate, OrganisationIn):
        members = annexes.get(predicate.name) if predicate.source == "annex" else find_list(predicate.name)
        if members is None or facts.organisation is None:
            return UNKNOWN
        return TRUE if facts.organisation in members else FALSE
    if isinstance(predicate, AllOf):
        result = TRUE
        for part in predicate.parts:
            value = evaluate(part, facts, annexes, find_list)
            if value == FALSE:
                return FALSE
            result = min(result, value)
        return result
    if isinstance(predicate, AnyOf):
        result = FALSE
        for part in predicate.parts:
            value = evaluate(part, facts, annexes, find_list)
            if value == TRUE:
                return TRUE
            result = max(result, value)
        return result
    if isinstance(predicate, Not):
        return TRUE - evaluate(predicate.part, facts, annexes, find_list)
    if isinstance(predicate, EmployeeOfProvider):
        if facts.employee_of_provider is None:
            return UNKNOWN
        return TRUE if facts.employee_of_provider is predicate.value else FALSE
    if isinstance(predicate, CitizenshipIn):
        if not facts.citizenships:
            return UNKNOWN
        return FALSE if predicate.countries.isdisjoint(facts.citizenships) else TRUE
    if isinstance(predicate, SubjectKindIn):
        if facts.subject_kind is None:
            return UNKNOWN
        return TRUE if facts.subject_kind in predicate.kinds else FALSE
    if isinstance(predicate, DeemedExportTo):
        return _deemed_export(predicate, facts)
    if facts.location is None:
        return UNKNOWN
    return TRUE if facts.location in predicate.countries else FALSE


def leaves(predicate: Predicate) -> Iterator[Predicate]:
    """Every fact the predicate asks for, left to right."""
    if isinstance(predicate, AllOf | AnyOf):
        for part in predicate.parts:
            yield from leaves(part)
    elif isinstance(predicate, Not):
        yield from leaves(predicate.part)
    else:
        yield predicate


def nationality_dependent(predicate: Predicate) -> bool:
    """True when the answer may turn on a nationality: `us_person`, `citizenship` or `deemed_export` stands in it."""
    return any(isinstance(leaf, IsUsPerson | CitizenshipIn | DeemedExportTo) for leaf in leaves(predicate))


def nationality_unknown(predicate: Predicate, facts: Facts) -> bool:
    """True when a nationality that the predicate asks for was not declared or not disclosed."""
    for leaf in leaves(predicate):
        if isinstance(leaf, IsUsPerson) and leaf.value is not UsPerson.UNDECLARED:
            if _us_person(facts, leaf.regime) is UsPerson.UNDECLARED:
                return True
        elif (isinstance(leaf, CitizenshipIn) and not facts.citizenships) or (
            isinstance(leaf, DeemedExportTo) and _deemed_export(leaf, facts) == UNKNOWN
        ):
            return True
    return False


def annexes_named(predicate: Predicate) -> frozenset[str]:
    """Names of the annexes the predicate refers to; each must come with the document."""
    return frozenset(
        leaf.name for leaf in leaves(predicate) if isinstance(leaf, OrganisationIn) and leaf.source == "annex"
    )


def lists_named(predicate: Predicate) -> frozenset[str]:
    """Ids of the OrgLists the predicate refers to."""
    return frozenset(
        leaf.name for leaf in leaves(predicate) if isinstance(leaf, OrganisationIn) and leaf.source == "list"
    )
