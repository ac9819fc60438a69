"""The signed evidence import: what its document holds and how it is read.

A JWS `typ=evidence_import+jwt` whose claims are `iss iat exp aud jti` and exactly one of `person` and `organisation`.
Unknown members are refused at any depth: there is no member for an IAL, an AAL, a level that is held or a `us_person`, so a
document that carries one is refused. Instants may be written as RFC 3339 text, as a plain date or as seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from safeconduct.identity.authenticator import Authenticator
from safeconduct.identity.evidence import Evidence, Proofing, Validation, Verification
from safeconduct.identity.nationality import Citizenship, Residency
from safeconduct.identity.organisation import OrganisationEvidence, check_lei
from safeconduct.identity.screening.result import ScreeningResult
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId, ProjectId, check_name
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer
from safeconduct.kernel.vocabulary import (
    PROHIBITED_PURPOSES,
    Affiliation,
    Compartment,
    Level,
    Purpose,
    SubjectKind,
    UsStatus,
)

TYP = "evidence_import+jwt"
LONGEST_LIFE = 30 * 86_400
# A desk's clock may be this many seconds ahead of ours.
LEEWAY = 300
MAX_ITEMS = 64


class AgreedTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Terms signed by the person: their id and the SHA-256 (hex) of their text."""

    terms: str
    sha256: str
    signed_at: int
    until: int | None = None


class ProjectApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approved project the person works on. whole_organisation: so does everybody there."""

    project: ProjectId
    purposes: tuple[Purpose, ...]
    compartments: tuple[Compartment, ...]
    valid_from: int
    valid_until: int
    approved_by: tuple[str, ...]
    requested_by: str
    whole_organisation: bool = False
    targets: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    downstream_use: str = ""
    autonomy: str = ""


class RequestedClearance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for; what is held is computed. level: `C0` to `C4`."""

    level: str
    compartments: tuple[Compartment, ...] = ()
    caveats: tuple[str, ...] = ()
    until: int | None = None

    @property
    def asked(self) -> Level:
        """The level as a value; checked when the document was read."""
        return Level[self.level]


class PersonEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an import says about one person.

    reference: the desk's own pseudonymous name for the person; never a name or a document number.
    citizenships, residencies: None when the person declined to declare them.
    age_over_18: what the check came to, None when none was made. The birth date stays with the desk.
    adjudicators, requester: ids of persons.
    """

    reference: str
    requester: str
    requested: RequestedClearance
    kind: SubjectKind = SubjectKind.HUMAN
    organisation: OrganisationId | None = None
    affiliation: Affiliation = Affiliation.SELF
    role: str | None = None
    citizenships: tuple[Citizenship, ...] | None = None
    residencies: tuple[Residency, ...] | None = None
    us_status: UsStatus = UsStatus.UNDECLARED
    age_over_18: bool | None = None
    evidence: tuple[Evidence, ...] = ()
    validations: tuple[Validation, ...] = ()
    verifications: tuple[Verification, ...] = ()
    proofing: Proofing | None = None
    authenticators: tuple[Authenticator, ...] = ()
    screening: ScreeningResult | None = None
    terms: tuple[AgreedTerms, ...] = ()
    projects: tuple[ProjectApproval, ...] = ()
    adjudicators: tuple[str, ...] = ()


class EvidenceImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims of the document."""

    iss: str
    iat: int
    exp: int
    aud: str
    jti: str
    person: PersonEvidence | None = None
    organisation: OrganisationEvidence | None = None


_INSTANTS = frozenset(
    {"at", "from", "to", "until", "expires", "valid_from", "valid_until", "signed_at", "iat", "exp"}
)
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_COMPUTED = frozenset(
    {"ial", "aal", "fal", "level", "us_person", "clearance", "compartments", "verified", "verified_until"}
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_CAVEAT = re.compile(r"US_PERSON|NO_ZDR|ENCLAVE:[a-z0-9][a-z0-9._-]{0,63}")


def _instants(value: Any, path: str) -> Any:
    """Turn the text of known date members into seconds. Raises InvalidInput naming the path."""
    if isinstance(value, dict):
        return {
            name: _instant(member, f"{path}.{name}".lstrip("."))
            if name in _INSTANTS and isinstance(member, str)
            else _instants(member, f"{path}.{name}".lstrip("."))
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_instants(member, f"{path}[{index}]") for index, member in enumerate(value)]
    return value


def _instant(text: str, path: str) -> int:
    try:
        return parse_instant(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:40]!r} is not a date or an instant with an offset",
            field=path,
            remedy="write 2026-06-12 or 2026-06-12T00:00:00Z",
        ) from None


def _explain(error: msgspec.ValidationError) -> InvalidInput:
    match = _PATH.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    unknown = _UNKNOWN.search(what)
    if unknown:
        name = unknown[1]
        remedy = (
            "leave it out: it is computed from the evidence, never typed in"
            if name in _COMPUTED
            else "leave it out, or compare its name with the guide"
        )
        return InvalidInput(f"unknown member {name!r}", field=f"{path}.{name}".lstrip("."), remedy=remedy)
    missing = _MISSING.search(what)
    if missing:
        return InvalidInput(
            f"{missing[1]!r} is missing", field=f"{path}.{missing[1]}".lstrip("."), remedy="add it"
        )
    return InvalidInput(what.strip(), field=path)


def read_claims(claims: dict[str, Any], *, now: int) -> EvidenceImport:
    """Read the claims of a verified document and check what types cannot say.

    now: seconds; nothing in the document may have happened later. Raises InvalidInput whose field is the JSON path.
    """
    try:
        document = msgspec.convert(_instants(claims, ""), EvidenceImport)
    except msgspec.ValidationError as error:
        raise _explain(error) from None
    if (document.person is None) == (document.organisation is None):
        raise InvalidInput("give exactly one of person and organisation", field="person")
    if document.person is not None:
        _check_person(document.person, now)
    if document.organisation is not None:
        _check_organisation(document.organisation, now)
    return document


def _past(at: int, now: int, path: str) -> None:
    if not 0 <= at <= now + LEEWAY:
        raise InvalidInput("lies in the future", field=path, remedy="give the instant at which it happened")


def _ordered(start: int | None, end: int | None, path: str) -> None:
    if start is not None and end is not None and end <= start:
        raise InvalidInput("ends before it begins", field=path)


def _few(items: tuple[Any, ...], path: str) -> None:
    if len(items) > MAX_ITEMS:
        raise InvalidInput(f"more than {MAX_ITEMS} entries", field=path)


def _country(code: str, path: str) -> None:
    if not _COUNTRY.fullmatch(code):
        raise InvalidInput(
            f"{code[:10]!r} is not an ISO 3166-1 alpha-2 code", field=path, remedy="use two capital letters"
        )


def _screening(result: ScreeningResult | None, now: int, path: str) -> None:
    if result is None:
        return
    _few(result.lists, f"{path}.lists")
    _past(result.at, now, f"{path}.at")
    for index, entry in enumerate(result.lists):
        _digest(entry.sha256, f"{path}.lists[{index}].sha256")


def _digest(text: str, path: str) -> None:
    if not _SHA256.fullmatch(text):
        raise InvalidInput("not a SHA-256 in lower-case hexadecimal", field=path)


def _check_organisation(organisation: OrganisationEvidence, now: int) -> None:
    check_name(organisation.organisation, "organisation.organisation")
    if not organisation.legal_name.strip() or len(organisation.legal_name) > 300:
        raise InvalidInput("1 to 300 characters", field="organisation.legal_name")
    _country(organisation.country, "organisation.country")
    if organisation.lei is not None:
        check_lei(organisation.lei, "organisation.lei")
    if organisation.provider is not None:
        check_name(organisation.provider, "organisation.provider")
    if organisation.parent is not None and organisation.parent == organisation.organisation:
        raise InvalidInput("an organisation is not its own parent", field="organisation.parent")
    _few(organisation.verifications, "organisation.verifications")
    for index, verification in enumerate(organisation.verifications):
        path = f"organisation.verifications[{index}]"
        _past(verification.at, now, f"{path}.at")
        _ordered(verification.at, verification.until, f"{path}.until")
    _screening(organisation.screening, now, "organisation.screening")


def _check_person(person: PersonEvidence, now: int) -> None:
    check_name(person.reference, "person.reference")
    check_name(person.requester, "person.requester")
    if person.kind is SubjectKind.AGENT:
        raise InvalidInput(
            "an agent is enrolled by its mandate", field="person.kind", remedy="register a mandate"
        )
    if person.requested.level not in Level.__members__:
        raise InvalidInput("not a level", field="person.requested.level", remedy="give one of C0 C1 C2 C3 C4")
    for index, caveat in enumerate(person.requested.caveats):
        if not _CAVEAT.fullmatch(caveat):
            raise InvalidInput(
                f"{caveat[:60]!r} is not a caveat",
                field=f"person.requested.caveats[{index}]",
                remedy="use US_PERSON, NO_ZDR or ENCLAVE:<id>",
            )
    for name in ("evidence", "validations", "verifications", "authenticators", "terms", "projects"):
        _few(getattr(person, name), f"person.{name}")
    for index, adjudicator in enumerate(person.adjudicators):
        check_name(adjudicator, f"person.adjudicators[{index}]")
    _check_nationality(person)
    _check_evidence(person, now)
    _screening(person.screening, now, "person.screening")
    for index, terms in enumerate(person.terms):
        check_name(terms.terms, f"person.terms[{index}].terms")
        _digest(terms.sha256, f"person.terms[{index}].sha256")
        _past(terms.signed_at, now, f"person.terms[{index}].signed_at")
        _ordered(terms.signed_at, terms.until, f"person.terms[{index}].until")
    _check_projects(person)


def _check_nationality(person: PersonEvidence) -> None:
    held: tuple[tuple[str, Sequence[Citizenship | Residency]], ...] = (
        ("citizenships", person.citizenships or ()),
        ("residencies", person.residencies or ()),
    )
    for name, entries in held:
        for index, entry in enumerate(entries):
            path = f"person.{name}[{index}]"
            _country(entry.country, f"{path}.country")
            _ordered(entry.from_, entry.to, f"{path}.to")


def _check_evidence(person: PersonEvidence, now: int) -> None:
    known: set[str] = set()
    for index, piece in enumerate(person.evidence):
        path = f"person.evidence[{index}]"
        if piece.id in known:
            raise InvalidInput(f"{piece.id[:60]!r} stands twice", field=f"{path}.id")
        known.add(piece.id)
        for name in ("kind", "issuer", "number"):
            if not getattr(piece, name).strip():
                raise InvalidInput("empty", field=f"{path}.{name}")
    documents = [(piece.kind, piece.issuer, normal_number(piece.number)) for piece in person.evidence]
    for index, document in enumerate(documents):
        # One document entered twice under two ids would count as two pieces.
        if document in documents[:index]:
            raise InvalidInput("the same document stands twice", field=f"person.evidence[{index}].number")
    made: tuple[tuple[str, Sequence[Validation | Verification]], ...] = (
        ("validations", person.validations),
        ("verifications", person.verifications),
    )
    for name, checks in made:
        for index, check in enumerate(checks):
            if check.evidence not in known:
                raise InvalidInput(
                    f"{check.evidence[:60]!r} is not among the evidence",
                    field=f"person.{name}[{index}].evidence",
                    remedy="name the id of a piece of evidence",
                )
            _past(check.at, now, f"person.{name}[{index}].at")
    if person.proofing is not None:
        _past(person.proofing.at, now, "person.proofing.at")


def _check_projects(person: PersonEvidence) -> None:
    for index, project in enumerate(person.projects):
        path = f"person.projects[{index}]"
        check_name(project.project, f"{path}.project")
        check_name(project.requested_by, f"{path}.requested_by")
        _ordered(project.valid_from, project.valid_until, f"{path}.valid_until")
        if not project.purposes:
            raise InvalidInput("a project has at least one purpose", field=f"{path}.purposes")
        for purpose in project.purposes:
            if purpose in PROHIBITED_PURPOSES:
                raise InvalidInput(f"{purpose} is never allowed", field=f"{path}.purposes")
        if not project.approved_by:
            raise InvalidInput("nobody approved it", field=f"{path}.approved_by")
        for place, approver in enumerate(project.approved_by):
            check_name(approver, f"{path}.approved_by[{place}]")
        if project.whole_organisation and person.organisation is None:
            raise InvalidInput(
                "the person has no organisation",
                field=f"{path}.whole_organisation",
                remedy="name the organisation",
            )


def normal_number(number: str) -> str:
    """A document number as compared: letters and digits only, in capitals, so that spacing does not hide a second use."""
    return "".join(character for character in number.upper() if character.isalnum())


def sign_evidence_import(
    content: dict[str, Any],
    *,
    party: str,
    audience: str,
    jti: str,
    signer: Signer,
    now: int,
    life: int = 3_600,
) -> str:
    """Sign an import. content: `{"person": {...}}` or `{"organisation": {...}}`; party: the signer's name in the trust
    list; audience: the issuer identifier of the instance it is meant for; life: seconds.
    """
    return sign_jwt(
        {**content, "iss": party, "aud": audience, "iat": now, "exp": now + life, "jti": jti},
        typ=TYP,
        signer=signer,
    )
