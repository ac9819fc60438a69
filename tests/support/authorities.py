"""Authorities, labs and officers with their keys, the documents they sign, and a small world to sign about."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from tests.support.records import memory_instance

from safeconduct.app.ports import Caller, Instance
from safeconduct.authorization import directive as directives
from safeconduct.authorization.annex import AnnexLine, write_annex
from safeconduct.authorization.licence import TYP as LICENCE_TYP
from safeconduct.authorization.misuse import TYP as MISUSE_TYP
from safeconduct.authorization.org_list import TYP as ORG_LIST_TYP
from safeconduct.authorization.trust_change import sign_trust_change
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import (
    ClearanceState,
    Compartment,
    FindingDomain,
    Level,
    Purpose,
    Role,
    Screening,
    Sector,
    Severity,
    Stage,
    SubjectKind,
    Wire,
)
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ClearanceGranted
from safeconduct.record.events.holders import (
    GroupMembershipChanged,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    SubjectEnrolled,
    SubjectScreened,
)
from safeconduct.record.events.registrations import (
    DeploymentRegistered,
    FindingRecorded,
    ModelRegistered,
    ProviderRegistered,
    StageChanged,
    VariantRegistered,
)
from safeconduct.record.events.trust import InstanceInitialised, TrustKeyAdded

NOW = parse_instant("2031-03-01T12:00:00Z")
DAY = 86_400
ORIGIN = "test.example/record"
DIGEST = "ab" * 32
DIRECTIVE_KINDS = tuple(
    f"directive:{kind}"
    for kind in (
        "licence_required",
        "suspend",
        "restrict_to_list",
        "partially_authorise",
        "rescind",
        "information",
    )
)


@functools.cache
def key(name: str) -> FileSigner:
    """The key of that name, made once a process."""
    return FileSigner.generate(kid=name)


def lei(stem: str) -> str:
    """An LEI with fitting check digits (ISO 17442) from up to 18 characters."""
    body = stem.upper().ljust(18, "0")
    number = int("".join(str(int(character, 36)) for character in body + "00"))
    return f"{body}{98 - number % 97:02d}"


def trusted(name: str, party: str, may_sign: Sequence[str], **scope: Any) -> TrustKeyAdded:
    """An entry of the trust list for the key of that name."""
    scope = {"jurisdiction": None, "variants": (), "provider": None, **scope}
    return TrustKeyAdded(
        kid=name,
        jwk=key(name).public_jwk(),
        party=party,
        may_sign=tuple(may_sign),
        valid_from=scope.pop("valid_from", NOW - 100 * DAY),
        valid_until=scope.pop("valid_until", NOW + 100 * DAY),
        officers=("a", "b"),
        recorded_at=NOW - 100 * DAY,
        **scope,
    )


def organisation(name: str, **more: Any) -> OrganisationRegistered:
    """An organisation whose LEI is made from its id."""
    return OrganisationRegistered(
        organisation=name,
        legal_name=f"Sample {name}",
        country="XA",
        sector=Sector.OTHER,
        lei=lei(name.replace("-", "")[:18]),
        **more,
    )


def subject_events(name: str, org: str | None, *, passports: int = 1, first_index: int = 0) -> list[Event]:
    """A cleared human with passports `pass-<name>-0..`."""
    return [
        SubjectEnrolled(subject=name, kind=SubjectKind.HUMAN, organisation=org),
        SubjectScreened(
            subject=name, screening=Screening.CLEAR, screened_at=NOW - DAY, list_digests=(DIGEST,)
        ),
        ClearanceGranted(
            subject=name,
            level=Level.C3,
            compartments=(Compartment.CYB,),
            caveats=(),
            state=ClearanceState.GRANTED,
            valid_from=NOW - DAY,
            valid_until=NOW + 300 * DAY,
            adjudicators=("adj-1", "adj-2"),
            evidence=DIGEST,
        ),
        *(
            PassportIssued(
                passport=f"pass-{name}-{place}",
                subject=name,
                status_index=first_index + place,
                key="thumb",
                valid_from=NOW - DAY,
                valid_until=NOW + 300 * DAY,
                commitment=DIGEST,
                aal=3,
            )
            for place in range(passports)
        ),
    ]


def world_events() -> list[Event]:
    """Two labs with variants, three organisations, people, and the trust list."""
    return [
        InstanceInitialised(
            origin=ORIGIN,
            profile="development",
            issuer="http://127.0.0.1:8781",
            officers=(key("officer-1").public_jwk(), key("officer-2").public_jwk()),
            issuer_keys=(),
            created_at=NOW - 100 * DAY,
        ),
        trusted("auth-1", "authority:north", (*DIRECTIVE_KINDS, "licence", "org_list"), jurisdiction="XA"),
        trusted("auth-2", "authority:south", (*DIRECTIVE_KINDS, "licence", "org_list"), jurisdiction="XB"),
        trusted("lab-1", "provider:lab", ("misuse_signal",), provider="lab"),
        trusted("op-1", "operator", ("misuse_signal",)),
        organisation("lab-org", provider="lab"),
        organisation("rival-org", provider="rival"),
        organisation("listed"),
        organisation("unlisted"),
        *(
            OrganisationStandingChanged(
                organisation=name,
                verified_until=NOW + 300 * DAY,
                screening=Screening.CLEAR,
                screened_at=NOW - DAY,
                list_digests=(DIGEST,),
                evidence=DIGEST,
            )
            for name in ("lab-org", "listed", "unlisted")
        ),
        ProviderRegistered(provider="lab", organisation="lab-org", jurisdiction="XA"),
        ProviderRegistered(provider="rival", organisation="rival-org", jurisdiction="XB"),
        ModelRegistered(model="big", provider="lab"),
        VariantRegistered(variant="big-open", model="big", level=Level.C2, compartments=()),
        VariantRegistered(variant="big-cyber", model="big", level=Level.C3, compartments=(Compartment.CYB,)),
        ModelRegistered(model="other", provider="rival"),
        VariantRegistered(variant="other-1", model="other", level=Level.C1, compartments=()),
        DeploymentRegistered(
            deployment="big-open-1",
            variant="big-open",
            kind="sandbox",
            base_url="http://127.0.0.1:1",
            upstream_model="x",
            wires=(Wire.OPENAI,),
            region="xa-1",
            jurisdiction="XA",
        ),
        FindingRecorded(
            variant="big-open",
            domain=FindingDomain.MAN,
            scheme="own",
            raw="none",
            normalised=Severity.BELOW,
            cannot_rule_out=False,
            evidence=DIGEST,
        ),
        StageChanged(variant="big-open", stage=Stage.GENERAL, org_list=None, by="lab", at=NOW - DAY),
        *subject_events("ann", "listed", passports=2, first_index=0),
        *subject_events("bob", "unlisted", first_index=2),
        *subject_events("solo", None, first_index=3),
        SubjectEnrolled(subject="bot", kind=SubjectKind.AGENT, organisation="listed", accountable="ann"),
        GroupMembershipChanged(organisation="listed", group="team", subject="ann", member=True),
    ]


def world(*, profile: str = "development", more: Sequence[Event] = ()) -> Instance:
    """An instance in memory with that world, at NOW."""
    return memory_instance(NOW, profile=profile, events=[*world_events(), *more])


OPERATOR = Caller(role=Role.OPERATOR, party="operator", id="op-1")
ADJUDICATOR = Caller(role=Role.ADJUDICATOR, party="adjudicator:a", id="adj-9")
LAB = Caller(role=Role.PROVIDER, party="provider:lab", id="lab-admin", provider="lab")
RIVAL = Caller(role=Role.PROVIDER, party="provider:rival", id="rival-admin", provider="rival")
LISTED = Caller(role=Role.ORGANISATION, party="organisation:listed", id="listed-admin", organisation="listed")
UNLISTED = Caller(
    role=Role.ORGANISATION, party="organisation:unlisted", id="unlisted-admin", organisation="unlisted"
)
NORTH = Caller(role=Role.AUTHORITY, party="authority:north", id="north-officer", jurisdiction="XA")


def annex(*organisations: str, name: str = "organisations") -> tuple[dict[str, Any], bytes]:
    """A reference to an annex that lists those organisations by LEI, and its bytes."""
    data = write_annex(
        tuple(AnnexLine(f"Sample {org}", lei(org.replace("-", "")[:18])) for org in organisations)
    )
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "media_type": "application/jsonl", "sha256": digest}, data


def directive_claims(**changes: Any) -> dict[str, Any]:
    """A licence_required for everybody who is not a US person, effective NOW; a change of None removes the member."""
    claims: dict[str, Any] = {
        "iss": "authority:north",
        "iat": NOW,
        "number": "2031/7",
        "version": 1,
        "kind": "licence_required",
        "force": "binding",
        "visibility": "public",
        "variants": ["big"],
        "applies_to": {"not": {"us_person": "yes"}},
        "except": [],
        "amends": [],
        "effective_from": NOW,
        "in_flight": "cut",
        "annexes": [],
        "legal_source": "Sample Act 7",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def raw_directive(claims: dict[str, Any], *, signer: str = "auth-1", typ: str = directives.TYP) -> str:
    """Sign claims without reading them first, as a hostile or mistaken authority would."""
    return sign_jwt(claims, typ=typ, signer=key(signer))


def licence_jws(*, signer: str = "auth-1", **changes: Any) -> str:
    """A licence for the listed organisation."""
    claims = {
        "iss": "authority:north",
        "iat": NOW,
        "instrument": "L-1",
        "annex": [{"legal_name": "Sample listed", "lei": lei("listed")}],
        "variants": ["big"],
        "purposes": ["coding"],
        "from": NOW,
        "to": NOW + 30 * DAY,
        **changes,
    }
    return sign_jwt({n: v for n, v in claims.items() if v is not None}, typ=LICENCE_TYP, signer=key(signer))


def org_list_jws(data: bytes, *, signer: str = "auth-1", **changes: Any) -> str:
    """A list of organisations bound to those bytes."""
    claims = {
        "iss": "authority:north",
        "iat": NOW,
        "list": "approved",
        "version": 1,
        "media_type": "application/jsonl",
        "sha256": hashlib.sha256(data).hexdigest(),
        "valid_from": NOW,
        **changes,
    }
    return sign_jwt(claims, typ=ORG_LIST_TYP, signer=key(signer))


def misuse_jws(*, signer: str = "lab-1", **changes: Any) -> str:
    """The lab's signal about ann on big-open."""
    claims = {
        "iss": "provider:lab",
        "iat": NOW,
        "signal": "S-1",
        "subject": "ann",
        "variant": "big-open",
        "kind": "account_sharing",
        "evidence": DIGEST,
        **changes,
    }
    return sign_jwt({n: v for n, v in claims.items() if v is not None}, typ=MISUSE_TYP, signer=key(signer))


def key_addition(name: str, **changes: Any) -> dict[str, Any]:
    """A key to add in a trust change."""
    return {
        "kid": name,
        "jwk": key(name).public_jwk(),
        "party": "authority:north",
        "may_sign": ["directive:suspend"],
        "jurisdiction": "XA",
        "valid_from": NOW,
        "valid_until": NOW + 30 * DAY,
        **changes,
    }


def trust_change(
    *,
    add: Sequence[Any] = (),
    revoke: Sequence[Any] = (),
    signers: Sequence[str] = ("officer-1", "officer-2"),
    **changes: Any,
) -> bytes:
    """A trust change signed by the keys of those names."""
    claims = {
        "origin": ORIGIN,
        "iat": NOW,
        "exp": NOW + DAY,
        "add": list(add),
        "revoke": list(revoke),
        **changes,
    }
    return sign_trust_change(claims, [key(name) for name in signers])


def purposes(*names: str) -> tuple[Purpose, ...]:
    """Purposes by name."""
    return tuple(Purpose(name) for name in names)
