"""Builders of states: small worlds in which a rule can be seen to hold. All ids are synthetic."""

import datetime as dt
import hashlib

import msgspec

from safeconduct.decision.request import DecisionRequest
from safeconduct.identity.ownership.regime import Span
from safeconduct.kernel.ids import DirectiveId
from safeconduct.kernel.vocabulary import (
    Affiliation,
    Binding,
    ClearanceState,
    Compartment,
    DirectiveKind,
    Force,
    InFlight,
    Level,
    PassportStatus,
    Purpose,
    Screening,
    Sector,
    Stage,
    SubjectKind,
    Surface,
    UsPerson,
    Visibility,
    Wire,
)
from safeconduct.passport.claims import Claims
from safeconduct.policy.packs import load_shipped
from safeconduct.record.events import (
    CertificationRecorded,
    ClearanceGranted,
    DeploymentRegistered,
    DirectiveImported,
    GatewayKeyRegistered,
    GrantGiven,
    GroupMembershipChanged,
    LicenceGiven,
    MandateRegistered,
    ModelRegistered,
    OrganisationRegistered,
    OrganisationStandingChanged,
    OrgListPublished,
    PassportIssued,
    PassportStatusChanged,
    ProjectApproved,
    ProviderRegistered,
    StageChanged,
    SubjectEnrolled,
    TermsSigned,
    VariantRegistered,
)
from safeconduct.record.events.orders import Annex, OrganisationEntry
from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipFinding
from safeconduct.record.state import State, fold

DAY = 86_400
ISSUER = "authority:sample"
JURISDICTION = "XX"
EXEMPT_EMPLOYEES = {"employee_of_provider": True}


def instant(text):
    """Seconds since the epoch of a date (00:00 UTC) or RFC 3339 text."""
    if len(text) == 10:
        text += "T00:00:00+00:00"
    return int(dt.datetime.fromisoformat(text).timestamp())


def lei_of(organisation):
    """A synthetic, stable identifier; its check digits are of no matter to the state."""
    return hashlib.sha256(organisation.encode()).hexdigest()[:20].upper()


def listed(*organisations):
    """Lines that name these organisations."""
    return tuple(OrganisationEntry(legal_name=f"Sample {name}", lei=lei_of(name)) for name in organisations)


class World:
    """Events in order, and the state they fold to. `start` and `end` bound everything that is not told otherwise."""

    def __init__(self, start=instant("2026-01-01"), end=instant("2029-01-01"), packs=True):
        self.start, self.end = start, end
        self.events = []
        self.claims = {}
        self._state = State.empty()
        self._folded = 0
        self._serial = 0
        if packs:
            self.add(*load_shipped(recorded_at=start))

    def add(self, *events):
        self.events.extend(events)
        return self

    @property
    def state(self):
        self._state = fold(self.events[self._folded :], self._state)
        self._folded = len(self.events)
        return self._state

    def fork(self, *events):
        """The state with further events, this world staying as it is."""
        return fold(events, self.state)

    def number(self):
        self._serial += 1
        return self._serial

    # -- what is reached ---------------------------------------------------------------------------------------------
    def provider(self, name, organisation=None):
        organisation = organisation or f"org-{name}"
        self.organisation(organisation, provider=name)
        return self.add(
            ProviderRegistered(provider=name, organisation=organisation, jurisdiction=JURISDICTION)
        )

    def variant(
        self,
        name,
        provider,
        level=Level.C2,
        compartments=(),
        stage=Stage.GENERAL,
        org_list=None,
        terms=None,
        minimum_age=None,
        **deployment,
    ):
        self.add(
            ModelRegistered(model=f"model-{name}", provider=provider),
            VariantRegistered(
                variant=name,
                model=f"model-{name}",
                level=level,
                compartments=tuple(compartments),
                terms=terms,
                minimum_age=minimum_age,
            ),
            StageChanged(variant=name, stage=stage, org_list=org_list, by="lab", at=self.start),
        )
        return self.deployment(f"{name}-1", name, **deployment)

    def deployment(self, name, variant, region="r1", enclave=None, certifications=()):
        return self.add(
            DeploymentRegistered(
                deployment=name,
                variant=variant,
                kind="sandbox",
                base_url="http://127.0.0.1:1",
                upstream_model=variant,
                wires=(Wire.OPENAI,),
                region=region,
                jurisdiction=JURISDICTION,
                enclave=enclave,
                certifications=tuple(certifications),
            )
        )

    def certification(self, deployment, scheme, valid_from, valid_until, level="high"):
        return self.add(
            CertificationRecorded(
                deployment=deployment,
                scheme=scheme,
                level=level,
                valid_from=valid_from,
                valid_until=valid_until,
                evidence="00",
            )
        )

    # -- who owns ------------------------------------------------------------------------------------------------------
    def owned(self, organisation, outcome, since=0, until=None, regime="us.ofac50"):
        """What a regime makes of an organisation's owners between two moments."""
        found = OwnershipFinding(regime, "1", "made up for a test", outcome, (Span(since, until, outcome),))
        return self.add(OwnershipAssessed(organisation, (found,), "00", 0))

    # -- who asks ----------------------------------------------------------------------------------------------------
    def organisation(
        self,
        name,
        provider=None,
        screening=Screening.CLEAR,
        verified_until=None,
        suspended=False,
        parent=None,
    ):
        return self.add(
            OrganisationRegistered(
                organisation=name,
                legal_name=f"Sample {name}",
                country="XX",
                sector=Sector.OTHER,
                lei=lei_of(name),
                provider=provider,
                parent=parent,
            ),
            OrganisationStandingChanged(
                organisation=name,
                verified_until=self.end if verified_until is None else verified_until,
                screening=screening,
                screened_at=self.start,
                list_digests=(),
                evidence="00",
                suspended=suspended,
            ),
        )

    def person(
        self,
        name,
        organisation,
        us_person=UsPerson.YES,
        citizenships=("YY",),
        level=Level.C3,
        compartments=(Compartment.CYB,),
        caveats=(),
        adjudicators=("adj-1", "adj-2"),
        kind=SubjectKind.HUMAN,
        ial=2,
        aal=3,
        clearance_until=None,
        state=ClearanceState.GRANTED,
        **claims,
    ):
        self.add(
            SubjectEnrolled(subject=name, kind=kind, organisation=organisation),
            ClearanceGranted(
                subject=name,
                level=level,
                compartments=tuple(compartments),
                caveats=tuple(caveats),
                state=state,
                valid_from=self.start,
                valid_until=self.end if clearance_until is None else clearance_until,
                adjudicators=tuple(adjudicators),
                evidence="00",
            ),
        )
        self.passport(name, aal=aal)
        facts = {
            "ial": ial,
            "fal": 2,
            "affiliation": Affiliation.ORG_ATTESTED if organisation else None,
            "evidence_expires": self.end,
            "citizenships": citizenships,
            "us_person": (("ear", us_person),) if us_person is not None else (),
            "organisation": organisation,
            "level": level,
            "age_over_18": True,
        }
        self.claims[name] = Claims(**{**facts, **claims})
        return self

    def passport(self, subject, aal=3, suffix="", valid_from=None, valid_until=None):
        return self.add(
            PassportIssued(
                passport=f"pass-{subject}{suffix}",
                subject=subject,
                status_index=self.number(),
                key="thumb",
                valid_from=self.start if valid_from is None else valid_from,
                valid_until=self.end if valid_until is None else valid_until,
                commitment="00",
                aal=aal,
            )
        )

    def passport_status(self, subject, status=PassportStatus.INVALID, at=0):
        return self.add(
            PassportStatusChanged(passport=f"pass-{subject}", status=status, cause="test", by="adj", at=at)
        )

    def group(self, organisation, group, subject, member=True):
        return self.add(
            GroupMembershipChanged(organisation=organisation, group=group, subject=subject, member=member)
        )

    def agent(self, name, human, organisation=None):
        return self.add(
            SubjectEnrolled(
                subject=name,
                kind=SubjectKind.AGENT,
                organisation=organisation,
                accountable=human,
                software="00",
            )
        )

    def mandate(
        self, name, agent, human, variants, principal=None, parent=None, depth=1, project=None, **scope
    ):
        facts = {
            "purposes": (Purpose.VULN_TRIAGE,),
            "surfaces": (Surface.API,),
            "valid_from": self.start,
            "valid_until": self.end,
            "aal": 3,
            "signed_at": self.start,
        }
        return self.add(
            MandateRegistered(
                mandate=name,
                agent=agent,
                principal=principal or human,
                human=human,
                passport=f"pass-{human}",
                variants=tuple(variants),
                project=project,
                key="thumb-agent",
                status_index=self.number(),
                depth=depth,
                parent=parent,
                **{**facts, **scope},
            )
        )

    def key(self, name, subject, networks=("127.0.0.0/8",), loopback_only=False, project=None, **facts):
        defaults = {
            "aal": 2,
            "authenticated_at": self.start,
            "valid_from": self.start,
            "valid_until": self.end,
        }
        return self.add(
            GatewayKeyRegistered(
                key=name,
                subject=subject,
                passport=f"pass-{subject}",
                project=project,
                purpose=None,
                secret_sha256="00",
                networks=tuple(networks),
                claims_commitment="00",
                loopback_only=loopback_only,
                **{**defaults, **facts},
            )
        )

    def terms(self, subject, terms, until=None):
        return self.add(
            TermsSigned(subject=subject, terms=terms, document="00", signed_at=self.start, until=until)
        )

    # -- what is granted ---------------------------------------------------------------------------------------------
    def project(
        self,
        name,
        organisation,
        purposes=(Purpose.VULN_TRIAGE,),
        compartments=(Compartment.CYB,),
        members=(),
        **times,
    ):
        span = {"valid_from": self.start, "valid_until": self.end}
        return self.add(
            ProjectApproved(
                project=name,
                organisation=organisation,
                owner=None,
                purposes=tuple(purposes),
                compartments=tuple(compartments),
                members=tuple(members),
                approved_by=("adj-1",),
                requested_by="someone",
                **{**span, **times},
            )
        )

    def grant(
        self,
        name,
        variants,
        *,
        by_provider=None,
        by_organisation=None,
        to_organisation=None,
        to_group=None,
        to_subject=None,
        parent=None,
        **scope,
    ):
        facts = {
            "purposes": (Purpose.VULN_TRIAGE,),
            "surfaces": (Surface.API,),
            "regions": (),
            "valid_from": self.start,
            "valid_until": self.end,
            "conditions": (),
        }
        return self.add(
            GrantGiven(
                grant=name,
                by_provider=by_provider,
                by_organisation=by_organisation,
                to_organisation=to_organisation,
                to_group=to_group,
                to_subject=to_subject,
                variants=tuple(variants),
                approved_by=("approver",),
                requested_by="someone",
                parent=parent,
                **{**facts, **scope},
            )
        )

    def admit(self, provider, organisation, subjects, variants, **scope):
        """A whole chain: the provider's grant to the organisation, and the organisation's to each subject."""
        above = f"grant-{provider}-{organisation}-{self.number()}"
        self.grant(above, variants, by_provider=provider, to_organisation=organisation, **scope)
        for subject in subjects:
            self.grant(
                f"grant-{subject}-{self.number()}",
                variants,
                by_organisation=organisation,
                to_subject=subject,
                parent=above,
                **scope,
            )
        return self

    def licence(self, name, variants, annex=(), subjects=(), classes=(), authority=ISSUER, **facts):
        defaults = {
            "regions": (),
            "purposes": (),
            "valid_from": self.start,
            "valid_until": self.end,
            "conditions": (),
            "jurisdiction": JURISDICTION,
        }
        return self.add(
            LicenceGiven(
                licence=name,
                authority=authority,
                instrument="L-1",
                annex=tuple(annex),
                subjects=tuple(subjects),
                person_classes=tuple(classes),
                variants=tuple(variants),
                document="00",
                recorded_at=self.start,
                **{**defaults, **facts},
            )
        )

    # -- what is ordered ---------------------------------------------------------------------------------------------
    def org_list(self, name, organisations, version=1, valid_from=None, valid_until=None):
        return self.add(
            OrgListPublished(
                list=name,
                version=version,
                authority=ISSUER,
                sha256="00",
                entries=listed(*organisations),
                valid_from=self.start if valid_from is None else valid_from,
                valid_until=valid_until,
                document="00",
                recorded_at=self.start,
            )
        )

    def order(self, *args, **kwargs):
        return self.add(order(*args, **kwargs))

    # -- what is asked -----------------------------------------------------------------------------------------------
    def request(self, subject, variant, **changes):
        facts = {
            "subject": subject,
            "holder": subject,
            "kind": SubjectKind.HUMAN,
            "passport": f"pass-{changes.get('holder', subject)}",
            "claims": self.claims[changes.get("holder", subject)],
            "aal": 3,
            "authenticated_at": self.start,
            "binding": Binding.DPOP,
            "purpose": Purpose.VULN_TRIAGE,
            "variant": variant,
            "deployment": f"{variant}-1",
        }
        return DecisionRequest(**{**facts, **changes})

    def disclosing(self, request, **claims):
        """The same question with other claims disclosed."""
        return msgspec.structs.replace(request, claims=msgspec.structs.replace(request.claims, **claims))


def order(
    number,
    kind,
    variants,
    effective_from,
    applies_to=None,
    except_=(),
    amends=(),
    annexes=None,
    effective_until=None,
    packs=(),
    visibility=Visibility.PUBLIC,
    authority=ISSUER,
    jurisdiction=JURISDICTION,
    in_flight=InFlight.CUT,
):
    """A directive as imported. annexes: name -> organisations."""
    return DirectiveImported(
        directive=DirectiveId(f"{authority}/{number}/1"),
        authority=authority,
        jurisdiction=jurisdiction,
        number=number,
        version=1,
        kind=DirectiveKind(kind),
        force=Force.BINDING,
        visibility=visibility,
        variants=tuple(variants),
        applies_to={"all": []} if applies_to is None else applies_to,
        except_=tuple(except_),
        amends=tuple(DirectiveId(f"{authority}/{named}/1") for named in amends),
        effective_from=effective_from,
        effective_until=effective_until,
        in_flight=in_flight,
        annexes=tuple(
            Annex(name=name, media_type="application/jsonl", sha256="00", entries=listed(*organisations))
            for name, organisations in (annexes or {}).items()
        ),
        legal_source="Sample Act, section 1",
        packs=tuple(packs),
        title="",
        jws="",
        document="00",
        signed_with="kid",
        recorded_at=effective_from,
    )


def plain_world(level=Level.C2, compartments=(), now=instant("2026-06-01"), **variant):
    """One lab, one model, one organisation, one admitted person `ann`, a project `proj`. Everything is in order."""
    world = World()
    world.provider("lab").organisation("org-a")
    world.variant("model-x", "lab", level=level, compartments=compartments, **variant)
    world.person("ann", "org-a", compartments=compartments)
    world.project("proj", "org-a", compartments=compartments)
    world.admit("lab", "org-a", ["ann"], ["model-x"])
    world.now = now
    return world
