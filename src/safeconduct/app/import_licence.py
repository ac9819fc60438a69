"""Use cases: take in a licence that an authority signed; withdraw it."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.reach import models_of, reach_of
from safeconduct.app.scope import require_own_document, require_role
from safeconduct.authorization.licence import TYP, read_licence
from safeconduct.authorization.trust import check_may_sign, may_act_for, verify_document
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.ids import LicenceId, SubjectId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.authorizations import LicenceEnded, LicenceGiven
from safeconduct.record.events.orders import OrganisationEntry
from safeconduct.record.matching import match
from safeconduct.record.state import State
from safeconduct.registry.model import variants_named


class ImportedLicence(msgspec.Struct, frozen=True):
    """unmatched: annex lines that name no registered organisation; the licence does not cover them."""

    licence: LicenceGiven
    unmatched: tuple[OrganisationEntry, ...]


def import_licence(instance: Instance, caller: Caller, jws: str) -> ImportedLicence:
    """By an operator, or by the authority for its own.

    Raises VerificationFailed, Forbidden, InvalidInput, NotFound (a subject), Conflict (an instrument used twice, or an
    annex of which no line is known: without its annex a licence would cover everybody).
    """
    require_role(caller, Role.OPERATOR, Role.AUTHORITY)
    now = instant(instance)
    unmatched: list[OrganisationEntry] = []

    def check(state: State) -> list[LicenceGiven]:
        document = verify_document(
            jws, typ=TYP, trust=state.trust, now=now, production=is_production(instance)
        )
        require_own_document(caller, document.party)
        licence = read_licence(document.claims)
        variants = variants_named(licence.variants, models_of(state))
        check_may_sign(document.scope, "licence", variants=reach_of(state, variants), field="instrument")
        if licence.id in state.licences:
            raise Conflict(
                f"{licence.id} was imported before: an instrument is used once", field="instrument"
            )
        organisations, left = match(
            (
                OrganisationEntry(line.legal_name, line.lei, line.registry_authority, line.registry_number)
                for line in licence.annex
            ),
            state.by_lei,
            state.by_registry,
        )
        if licence.annex and not organisations:
            raise Conflict(
                "no line of its annex names a registered organisation",
                field="annex",
                remedy="import the evidence of those organisations first",
            )
        for place, subject in enumerate(licence.subjects):
            if SubjectId(subject) not in state.subjects:
                raise NotFound(f"there is no subject {subject[:60]!r}", field=f"subjects[{place}]")
        unmatched[:] = left
        return [
            LicenceGiven(
                licence=licence.id,
                authority=licence.authority,
                instrument=licence.instrument,
                jurisdiction=document.scope.jurisdiction or "",
                annex=tuple(sorted(organisations)),
                subjects=tuple(SubjectId(subject) for subject in licence.subjects),
                person_classes=licence.person_classes,
                variants=variants,
                regions=licence.regions,
                purposes=licence.purposes,
                valid_from=licence.valid_from,
                valid_until=licence.valid_until,
                conditions=licence.conditions,
                document=document.sha256,
                recorded_at=now,
            )
        ]

    (event,) = commit_checked(instance, check)
    assert isinstance(event, LicenceGiven)
    return ImportedLicence(event, tuple(unmatched))


def end_licence(instance: Instance, caller: Caller, licence: str) -> LicenceEnded:
    """By the authority that gave it, or its named successor. Raises Forbidden, NotFound, Conflict."""
    require_role(caller, Role.AUTHORITY)
    event = LicenceEnded(licence=LicenceId(licence), by=caller.id, at=instant(instance))

    def check(state: State) -> list[LicenceEnded]:
        known = state.licences.get(event.licence)
        if known is None:
            raise NotFound(f"there is no licence {licence!r}", field="licence")
        if not may_act_for(caller.party, known.given.authority, state.trust):
            raise Forbidden("the licence is another authority's", field="licence")
        if known.ended_at is not None:
            raise Conflict(f"{licence!r} has been withdrawn already", field="licence")
        return [event]

    commit_checked(instance, check)
    return event
