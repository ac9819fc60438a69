"""Import signed evidence of one person or one organisation: verify, keep what identifies in the vault, record the rest.

Owns the order of things: the document and its index entries are in the vault before the pseudonymous events are in the record,
the assessment after them. A later document replaces an earlier one, never the other way round. Who may sign is in the
trust list; who may hand in is the operator.
"""

from __future__ import annotations

import threading

import msgspec

from safeconduct.app.assess_organisation import assess_organisation
from safeconduct.app.assess_ownership import with_ownership
from safeconduct.app.assess_person import Assessment, Source, assess_person
from safeconduct.app.evidence_index import EvidenceIndex
from safeconduct.app.ports import Caller, Instance
from safeconduct.authorization.trust import SignedDocument, check_may_sign, verify_document
from safeconduct.identity.assurance import Requirement
from safeconduct.identity.authenticator import bound_key
from safeconduct.identity.evidence_import import (
    LONGEST_LIFE,
    TYP,
    EvidenceImport,
    PersonEvidence,
    normal_number,
    read_claims,
)
from safeconduct.identity.organisation import OrganisationEvidence
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import OrganisationId, SubjectId, new_id
from safeconduct.kernel.jose import check_times
from safeconduct.kernel.vocabulary import Compartment, Level, Role
from safeconduct.passport.claims import Claims

_EVIDENCE = "evidence"
_ORGANISATION_EVIDENCE = "organisation-evidence"
ASSESSMENT = "assessment"
_ALERT = "alert"
_ATTEMPTS = 5

# One import at a time: two at once could both find a document unused.
_IMPORTING = threading.Lock()


class EvidenceImported(msgspec.Struct, frozen=True):
    """What an import came to. position: of the record afterwards. events: types of what was recorded, in order.

    level: what is held now, at most what was asked for; missing says what keeps it from that, sentence by sentence.
    development: a key file was treated as hardware-bound.
    """

    subject: SubjectId | None
    organisation: OrganisationId | None
    ial: int | None
    aal: int | None
    fal: int | None
    asked: Level | None
    level: Level | None
    compartments: tuple[Compartment, ...]
    met: tuple[str, ...]
    missing: tuple[str, ...]
    alerts: tuple[str, ...]
    document: str
    events: tuple[str, ...]
    position: int
    claims: Claims | None = None
    development: bool = False


class Alert(msgspec.Struct, frozen=True):
    """Something that somebody has to look at: the same document shown for two people. at: seconds."""

    subject: SubjectId
    other: SubjectId
    text: str
    document: str
    at: int


class _Kept(msgspec.Struct, frozen=True):
    """A document as it lies in the vault."""

    jws: str
    sha256: str
    party: str
    iat: int


def import_evidence(instance: Instance, caller: Caller, text: str) -> EvidenceImported:
    """Import one signed document (`typ=evidence_import+jwt`).

    Importing the same document again computes anew and records what changed, if anything.
    Raises Forbidden (caller, signer, scope), VerificationFailed, InvalidInput naming the member, Conflict, UnsafeConfiguration
    (a development key file under a production profile), LogUnavailable.
    """
    if caller.role is not Role.OPERATOR:
        raise Forbidden("only an operator hands in evidence", remedy="use the operator's role key")
    now = int(instance.clock.now())
    signed = verify_document(
        text,
        typ=TYP,
        trust=instance.record.state.trust,
        now=now,
        production=instance.profile != "development",
    )
    check_may_sign(signed.scope, "evidence_import", field="kid")
    check_times(signed.claims, now=now, max_lifetime=LONGEST_LIFE)
    if signed.claims.get("aud") != instance.issuer:
        # A document made for another instance (a test system, say) must not count here.
        raise InvalidInput(
            "meant for another instance", field="aud", remedy=f"sign it with aud {instance.issuer!r}"
        )
    document = read_claims(signed.claims, now=now)
    source = Source(sha256=signed.sha256, party=signed.party, iat=document.iat)
    with _IMPORTING:
        _check_scope(instance, signed, document)
        if document.person is not None:
            return _import_person(instance, document.person, text, source, now)
        assert document.organisation is not None
        return _import_organisation(instance, document.organisation, text, source, now)


def _check_scope(instance: Instance, signed: SignedDocument, document: EvidenceImport) -> None:
    """A limit in the trust list that has no meaning for evidence refuses: ignoring it would widen the key."""
    scope = instance.record.state.trust[signed.kid].added
    if scope.jurisdiction is not None or scope.variants:
        raise Forbidden(
            f"the key {scope.kid!r} is limited to a jurisdiction or to variants, which evidence does not have",
            field="kid",
            remedy="officers can limit an evidence key to an organisation or a provider",
        )
    about = (
        document.person.organisation
        if document.person is not None
        else document.organisation.organisation
        if document.organisation is not None
        else None
    )
    if scope.organisation is not None and about != scope.organisation:
        raise Forbidden(
            f"the key {scope.kid!r} may only sign evidence about {scope.organisation!r}", field="kid"
        )
    if scope.provider is not None:
        organisation = instance.record.state.organisations.get(about) if about is not None else None
        linked = organisation.registered.provider if organisation is not None else None
        if linked != scope.provider:
            raise Forbidden(
                f"the key {scope.kid!r} may only sign evidence about the people of {scope.provider!r}",
                field="kid",
            )


def _not_older(kept: bytes | None, source: Source) -> None:
    if kept is None:
        return
    known = msgspec.json.decode(kept, type=_Kept)
    if source.sha256 != known.sha256 and source.iat <= known.iat:
        raise Conflict(
            "a document signed at the same time or later was imported already",
            field="iat",
            remedy="sign the evidence anew; an older document never replaces a newer one",
        )


def _import_person(
    instance: Instance, person: PersonEvidence, text: str, source: Source, now: int
) -> EvidenceImported:
    vault = instance.vault
    index = EvidenceIndex(instance)
    known = index.holder("reference", source.party, person.reference)
    subject = known if known is not None else SubjectId(new_id("sub", instance.random))
    _not_older(vault.get(_EVIDENCE, subject), source)
    disputed, alerts = _shown_before(index, person, subject, source, now)
    _check_keys_free(index, person, subject, instance.profile)

    def assess() -> tuple[Assessment, int, tuple[str, ...]]:
        for _ in range(_ATTEMPTS):
            state = instance.record.state
            assessment, events = assess_person(
                person,
                subject=subject,
                source=source,
                state=state,
                profile=instance.profile,
                disputed=disputed,
                alerts=tuple(alert.text for alert in alerts),
                now=now,
            )
            keep()
            try:
                position = instance.record.commit(events, expect=state.position)
            except Conflict:
                continue
            return assessment, position, tuple(str(event.__struct_config__.tag) for event in events)
        raise Conflict("the record keeps changing", remedy="repeat the import")

    def keep() -> None:
        """Called once the evidence was found acceptable: what was refused leaves nothing behind."""
        vault.put(
            _EVIDENCE,
            subject,
            subject,
            msgspec.json.encode(_Kept(jws=text, sha256=source.sha256, party=source.party, iat=source.iat)),
        )
        index.bind(subject, "reference", source.party, person.reference)
        for piece in person.evidence:
            if piece.id not in disputed:
                index.bind(subject, "document", piece.kind, piece.issuer, normal_number(piece.number))
        for place, authenticator in enumerate(person.authenticators):
            key = bound_key(authenticator, profile=instance.profile, field=f"person.authenticators[{place}]")
            if key is not None:
                index.bind(subject, "authenticator", key.thumbprint)
        for alert in alerts:
            raise_alert(instance, alert)

    assessment, position, recorded = assess()
    vault.put(ASSESSMENT, subject, subject, msgspec.json.encode(assessment))
    return EvidenceImported(
        subject=subject,
        organisation=person.organisation,
        ial=assessment.ial,
        aal=assessment.aal,
        fal=assessment.fal,
        asked=assessment.asked,
        level=assessment.level,
        compartments=assessment.compartments,
        met=assessment.met,
        missing=assessment.missing,
        alerts=assessment.alerts,
        document=source.sha256,
        events=recorded,
        position=position,
        claims=assessment.claims,
        development=assessment.development,
    )


def _shown_before(
    index: EvidenceIndex, person: PersonEvidence, subject: SubjectId, source: Source, now: int
) -> tuple[frozenset[str], list[Alert]]:
    """Evidence that somebody else showed before. It stays theirs; the newcomer's claim to it counts for nothing.

    (The other way round, anybody could take a person's clearance away by showing that person's passport.)
    """
    disputed, alerts = set(), []
    for piece in person.evidence:
        holder = index.holder("document", piece.kind, piece.issuer, normal_number(piece.number))
        if holder is not None and holder != subject:
            disputed.add(piece.id)
            alerts.append(
                Alert(
                    subject=subject,
                    other=holder,
                    text=f"evidence {piece.id!r} ({piece.kind}) was shown for {holder} before; it is not counted",
                    document=source.sha256,
                    at=now,
                )
            )
    return frozenset(disputed), alerts


def _check_keys_free(index: EvidenceIndex, person: PersonEvidence, subject: SubjectId, profile: str) -> None:
    for place, authenticator in enumerate(person.authenticators):
        path = f"person.authenticators[{place}]"
        key = bound_key(authenticator, profile=profile, field=path)
        if key is None:
            continue
        holder = index.holder("authenticator", key.thumbprint)
        if holder is not None and holder != subject:
            raise Conflict(
                "the key is another person's authenticator",
                field=f"{path}.public_jwk",
                remedy="enrol an authenticator of the person's own",
            )


def _import_organisation(
    instance: Instance, evidence: OrganisationEvidence, text: str, source: Source, now: int
) -> EvidenceImported:
    name = evidence.organisation
    _not_older(instance.vault.get(_ORGANISATION_EVIDENCE, name), source)
    for _ in range(_ATTEMPTS):
        state = instance.record.state
        found, sentences = assess_organisation(evidence, document=source.sha256, state=state, now=now)
        # Whoever owns it may have been imported before it was known here: it never stands unassessed.
        events = with_ownership(instance, state, found, now)
        instance.vault.put(
            _ORGANISATION_EVIDENCE,
            name,
            f"organisation:{name}",
            msgspec.json.encode(_Kept(jws=text, sha256=source.sha256, party=source.party, iat=source.iat)),
        )
        try:
            position = instance.record.commit(events, expect=state.position)
        except Conflict:
            continue
        return EvidenceImported(
            subject=None,
            organisation=name,
            ial=None,
            aal=None,
            fal=None,
            asked=None,
            level=None,
            compartments=(),
            met=_texts(sentences, met=True),
            missing=_texts(sentences, met=False),
            alerts=(),
            document=source.sha256,
            events=tuple(str(event.__struct_config__.tag) for event in events),
            position=position,
        )
    raise Conflict("the record keeps changing", remedy="repeat the import")


def _texts(sentences: tuple[Requirement, ...], *, met: bool) -> tuple[str, ...]:
    return tuple(
        f"{sentence.subject}: {sentence.sentence} ({sentence.clause})"
        for sentence in sentences
        if sentence.met is met
    )


def load_assessment(instance: Instance, subject: SubjectId) -> Assessment:
    """The assessment of a subject's latest import. Raises NotFound when there is none, or it was erased."""
    found = instance.vault.get(ASSESSMENT, subject)
    if found is None:
        raise NotFound(
            f"no evidence was imported for {subject!r}", field="subject", remedy="import evidence first"
        )
    return msgspec.json.decode(found, type=Assessment)


def references(instance: Instance) -> dict[SubjectId, str]:
    """The desk's pseudonymous reference of every assessed subject, for those who may see whom an order touches."""
    found = {}
    for name in instance.vault.names(ASSESSMENT):
        subject = SubjectId(name)
        try:
            found[subject] = load_assessment(instance, subject).reference
        except NotFound:  # erased between the two reads
            continue
    return found


def raise_alert(instance: Instance, alert: Alert) -> None:
    """Keep an alert for whoever watches; one per subject and document."""
    name = f"{alert.subject}:{alert.document}"
    instance.vault.put(_ALERT, name, alert.subject, msgspec.json.encode(alert))


def alerts(instance: Instance) -> list[Alert]:
    """Every alert, ordered by time."""
    found = [instance.vault.get(_ALERT, name) for name in instance.vault.names(_ALERT)]
    return sorted(
        (msgspec.json.decode(alert, type=Alert) for alert in found if alert is not None),
        key=lambda alert: (alert.at, alert.subject),
    )
