"""The wire form of a holder's facts: what stands in disclosures, in access tokens and in stored documents.

Owns names and value spaces of the facts; refuses names it does not know, because an unread fact could be a restriction.
A fact that is absent was not disclosed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from safeconduct.kernel.canonical import canonical_json, strict_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level, Sector, UsPerson
from safeconduct.passport.claims import Claims

_Assurance = Annotated[int, msgspec.Meta(ge=1, le=3)]
_Country = Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Instant = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ial: _Assurance | None = None
    fal: _Assurance | None = None
    affiliation: Affiliation | None = None
    evidence_expires: _Instant | None = None
    citizenships: tuple[_Country, ...] | None = None
    residencies: tuple[_Country, ...] | None = None
    us_person: dict[_Text, UsPerson] | None = None
    organisation: _Text | None = None
    role: _Text | None = None
    sector: Sector | None = None
    level: Literal["C0", "C1", "C2", "C3", "C4"] | None = None
    compartments: tuple[Compartment, ...] = ()
    caveats: tuple[_Text, ...] = ()
    age_over_18: bool | None = None
    deemed_export: dict[_Text, tuple[_Country, ...]] | None = None


FACT_NAMES = _Facts.__struct_fields__


def to_facts(claims: Claims) -> dict[str, Any]:
    """JSON-ready facts; members that are None or empty are left out."""
    facts: dict[str, Any] = {}
    for name in FACT_NAMES:
        value = getattr(claims, name)
        if value is None or value == ():
            # An empty list of citizenships is a statement (stateless); an empty list of compartments is none.
            if value == () and name in ("citizenships", "residencies"):
                facts[name] = []
            continue
        if name == "us_person":
            facts[name] = {regime: str(answer) for regime, answer in value}
        elif name == "deemed_export":
            facts[name] = {regime: list(countries) for regime, countries in value}
        elif name == "level":
            facts[name] = value.name
        elif isinstance(value, tuple):
            facts[name] = [str(part) for part in value]
        elif isinstance(value, str):
            facts[name] = str(value)
        else:
            facts[name] = value
    return facts


def from_facts(facts: dict[str, Any]) -> Claims:
    """Read facts strictly. Raises InvalidInput naming the fact that is unknown or out of its value space."""
    try:
        read = msgspec.convert(facts, _Facts)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not a fact we know: {error}", field="facts") from None
    return Claims(
        ial=read.ial,
        fal=read.fal,
        affiliation=read.affiliation,
        evidence_expires=read.evidence_expires,
        citizenships=read.citizenships,
        residencies=read.residencies,
        us_person=tuple(sorted(read.us_person.items())) if read.us_person else (),
        organisation=None if read.organisation is None else OrganisationId(read.organisation),
        role=read.role,
        sector=read.sector,
        level=None if read.level is None else Level[read.level],
        compartments=read.compartments,
        caveats=read.caveats,
        age_over_18=read.age_over_18,
        deemed_export=tuple(sorted(read.deemed_export.items())) if read.deemed_export else (),
    )


def encode_claims(claims: Claims) -> bytes:
    """Canonical JSON of the facts, for commitments and for the vault."""
    return canonical_json(to_facts(claims))


def decode_claims(data: bytes) -> Claims:
    """Inverse of `encode_claims`. Raises InvalidInput."""
    facts = strict_json(data, what="facts")
    if not isinstance(facts, dict):
        raise InvalidInput("facts are not a JSON object", field="facts")
    return from_facts(facts)
