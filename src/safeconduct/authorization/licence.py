"""Licences: what an authority allows that its order otherwise forbids (`licence+jwt`, domain.md 2).

Refuses a licence that names nobody: an annex that matches no organisation must not become a licence for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from safeconduct.authorization.annex import AnnexLine, line_from
from safeconduct.authorization.document import Members
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import LicenceId
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer
from safeconduct.kernel.vocabulary import PROHIBITED_PURPOSES, Condition, Purpose

TYP = "licence+jwt"

PERSON_CLASSES = frozenset({"us_person", "foreign_national", "employee_of_provider"})


class Licence(msgspec.Struct, frozen=True):
    """A licence as read. variants are model or variant names as written; times are seconds since the epoch."""

    authority: str
    instrument: str
    annex: tuple[AnnexLine, ...]
    subjects: tuple[str, ...]
    person_classes: tuple[str, ...]
    variants: tuple[str, ...]
    regions: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    valid_from: int
    valid_until: int
    conditions: tuple[Condition, ...]

    @property
    def id(self) -> LicenceId:
        """`authority/instrument`, used once."""
        return LicenceId(f"{self.authority}/{self.instrument}")


def sign_licence(claims: Mapping[str, Any], signer: Signer) -> str:
    """Sign a licence at the authority's desk, having read it first. Raises InvalidInput."""
    read_licence(dict(claims))
    return sign_jwt(dict(claims), typ=TYP, signer=signer)


def read_licence(claims: Mapping[str, Any]) -> Licence:
    """Read `iss iat instrument annex[] subjects[] person_classes[] models[] variants[] regions[] purposes[] from to
    conditions[]`. Raises InvalidInput naming the member.
    """
    members = Members(claims)
    authority = members.text("iss", limit=100)
    members.instant("iat")
    instrument = members.text("instrument", limit=200)
    annex = tuple(line_from(value, f"annex[{place}]") for place, value in enumerate(members.items("annex")))
    subjects = members.texts("subjects")
    person_classes = members.texts("person_classes")
    variants = tuple(dict.fromkeys((*members.texts("models"), *members.texts("variants"))))
    regions = members.texts("regions")
    purposes = members.choices("purposes", Purpose)
    valid_from, valid_until = members.instant("from"), members.instant("to")
    conditions = members.choices("conditions", Condition)
    members.finish()
    if valid_until <= valid_from:
        raise InvalidInput("it ends before it begins", field="to")
    if not variants:
        raise InvalidInput("it names no model and no variant", field="variants")
    for place, one in enumerate(person_classes):
        if one not in PERSON_CLASSES:
            raise InvalidInput(
                f"{one[:60]!r} is not a class of persons",
                field=f"person_classes[{place}]",
                remedy=f"use {', '.join(sorted(PERSON_CLASSES))}",
            )
    if not annex and not subjects and not person_classes:
        raise InvalidInput(
            "it names nobody", field="annex", remedy="name organisations, subjects or classes of persons"
        )
    for purpose in purposes:
        if purpose in PROHIBITED_PURPOSES:
            raise InvalidInput(f"{purpose} is never permitted", field="purposes")
    return Licence(
        authority=authority,
        instrument=instrument,
        annex=annex,
        subjects=subjects,
        person_classes=person_classes,
        variants=variants,
        regions=regions,
        purposes=purposes,
        valid_from=valid_from,
        valid_until=valid_until,
        conditions=conditions,
    )
