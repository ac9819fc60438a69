"""A desk over a real embedded instance, and made-up applicants whose passports Utopia signed. Nobody here exists."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib

import msgspec
from tests.support.evidence import PERSON_ORGANISATION, import_organisation
from tests.support.instances import make_instance, operator, organisation

from safeconduct.app.add_kyc_document import AddKycDocument, add_kyc_document
from safeconduct.app.assign_kyc_case import assign_kyc_case
from safeconduct.app.attest_affiliation import attest_affiliation
from safeconduct.app.check_liveness import LivenessDesk, open_liveness_session, simulate_liveness_result
from safeconduct.app.clear_screening_match import ClearMatch, clear_screening_match
from safeconduct.app.collect_passport import collect_passport
from safeconduct.app.decide_kyc_case import DecideKycCase, decide_kyc_case
from safeconduct.app.document_authorities import ImportAuthorities, import_authorities
from safeconduct.app.initialise import Party
from safeconduct.app.kyc_files import load
from safeconduct.app.open_kyc_case import OpenKycCase, open_kyc_case
from safeconduct.app.ports import Caller
from safeconduct.app.rate_kyc_case import rate_kyc_case
from safeconduct.app.register_authenticator import (
    AuthenticatorDesk,
    begin_registration,
    register_authenticator,
    relying_party_of,
)
from safeconduct.app.screen_kyc_case import screen_kyc_case
from safeconduct.app.screen_name import NameScreener
from safeconduct.app.state_kyc_application import state_kyc_application
from safeconduct.app.submit_kyc_case import submit_kyc_case
from safeconduct.cli.sample.utopia import Utopia
from safeconduct.identity.kyc_application import Application, StatedTerms
from safeconduct.identity.kyc_states import Outcome
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, Risk, Role
from safeconduct.sdk.development_authenticator import DevelopmentAuthenticator
from safeconduct.web.api.assembly import kyc_desk

DAY = 86_400
TERMS = hashlib.sha256(b"sample terms").hexdigest()
BIRTH = dt.date(1990, 2, 28)
# Reviewers whose keys stand in the trust list.
REVIEWERS = (
    Party("analyst-2", ("role:analyst",)),
    Party("adjudicator-2", ("role:adjudicator",)),
    Party("adjudicator-3", ("role:adjudicator",)),
    Party("tied-analyst", ("role:analyst",), organisation=PERSON_ORGANISATION),
)


class KycBench:
    """A desk with an organisation that is verified, and Utopia's authority trusted."""

    def __init__(self, directory, **given):
        self.embedded = make_instance(directory, parties=REVIEWERS, **given)
        self.clock = self.embedded.clock
        self.build()
        import_organisation(self.embedded)
        self.utopia = Utopia(now=self.now)
        import_authorities(
            self.desk,
            operator(),
            ImportAuthorities(
                file=base64.b64encode(self.utopia.authority).decode(),
                sha256=hashlib.sha256(self.utopia.authority).hexdigest(),
            ),
        )

    def build(self, **changes):
        """The desks over the instance as it is now open."""
        instance = self.embedded.instance
        if changes.get("profile"):
            instance = msgspec.structs.replace(instance, profile=changes["profile"])
        self.instance = instance
        self.authenticators = AuthenticatorDesk(instance, relying_party_of(instance.issuer))
        self.liveness = LivenessDesk(instance)
        names = NameScreener(instance, self.embedded.opened.lists)
        self.desk = kyc_desk(instance, self.authenticators, self.liveness, names)

    @property
    def now(self):
        return int(self.clock.now())

    @property
    def state(self):
        return self.embedded.state

    def later(self, seconds):
        self.clock.move_to(self.clock.now() + seconds)

    def reviewer(self, party="analyst"):
        """The caller behind a reviewer's key, as the API makes it of a role token."""
        kid = self.embedded.key(party).kid
        added = self.state.trust[kid].added
        role = Role(added.may_sign[0].removeprefix("role:"))
        tied = OrganisationId(added.organisation) if added.organisation else None
        return Caller(role=role, party=party, id=kid, organisation=tied)

    def applicant(self, name="Anna Specimen Example", **given):
        return Applicant(self, name, **given)

    def file(self, case):
        return load(self.instance, case)

    def version(self, case):
        return self.file(case).case.version

    def screen(self, case, party="analyst"):
        """Assign and screen: the case is under review."""
        assign_kyc_case(self.desk, self.reviewer(party), case)
        return screen_kyc_case(self.desk, self.reviewer(party), case, version=self.version(case))

    def clear_match(
        self, case, rationale="Born in another decade, of another nationality.", party="analyst", **given
    ):
        """Clear a hit, on the case as it is now."""
        ask = ClearMatch(
            version=given.pop("version", None) or self.version(case), rationale=rationale, **given
        )
        return clear_screening_match(self.desk, self.reviewer(party), case, ask)

    def rate(self, case, risk=Risk.STANDARD, party="analyst"):
        return rate_kyc_case(
            self.desk, self.reviewer(party), case, risk, ["a made-up reason"], version=self.version(case)
        )

    def decide(self, case, outcome=Outcome.APPROVED, party="analyst", **given):
        ask = DecideKycCase(
            version=given.pop("version", None) or self.version(case),
            outcome=outcome,
            reasons=("a made-up reason",),
            **given,
        )
        return decide_kyc_case(self.desk, self.reviewer(party), case, ask)

    def approve(self, case):
        """The whole way from a case that was handed in."""
        self.screen(case)
        self.rate(case)
        return self.decide(case)

    def close(self):
        self.embedded.close()


class Applicant:
    """A made-up person with a key. number: of their passport, a new one each when left out."""

    def __init__(self, bench, name, *, number=None, key=None, nationality="UTO", **passport):
        self.bench = bench
        self.name = name
        self.signer = key or FileSigner.generate()
        self.export = bench.utopia.export(
            surname=name.split()[-1],
            given_names=" ".join(name.split()[:-1]),
            birth=passport.pop("birth", BIRTH),
            number=number,
            nationality=nationality,
            **passport,
        )
        self.case = ""

    @property
    def caller(self):
        jwk = {part: self.signer.public_jwk()[part] for part in ("kty", "crv", "x", "y")}
        return Caller(role=Role.APPLICANT, party="applicant", id=self.signer.kid, jwk=jwk)

    @property
    def subject(self):
        return self.bench.file(self.case).case.subject

    def open(self, level=Level.C2, organisation=PERSON_ORGANISATION, compartments=()):
        ask = OpenKycCase(
            level=level, compartments=compartments, organisation=organisation if level >= Level.C2 else None
        )
        self.case = open_kyc_case(self.bench.desk, self.caller, ask).case.id
        return self.case

    def application(self, **changes):
        return Application(
            **{
                "legal_name": self.name,
                "email": "somebody@example.org",
                "purpose": "A made-up purpose.",
                "address": "1 Sample Street",
                "citizenships": ("FR",),
                "us_status": "other",
                "terms": (StatedTerms("sample-terms", TERMS),),
                **changes,
            }
        )

    def state(self, **changes):
        return state_kyc_application(self.bench.desk, self.caller, self.case, self.application(**changes))

    def hand_in(self, export=None):
        content = base64.b64encode(export or self.export).decode()
        return add_kyc_document(self.bench.desk, self.caller, self.case, AddKycDocument("chip", content))

    def passkey(self):
        desk = self.bench.authenticators
        software = DevelopmentAuthenticator(self.signer, origin=self.bench.instance.issuer)
        options = begin_registration(desk, self.subject)
        return register_authenticator(desk, self.subject, software.create(options))

    def look(self, document, **outcome):
        session = open_liveness_session(
            self.bench.liveness, case=self.case, subject=self.subject, evidence=document.id
        )
        return simulate_liveness_result(self.bench.liveness, session.nonce, **outcome)

    def attest(self):
        return attest_affiliation(self.bench.desk, organisation(PERSON_ORGANISATION), self.case)

    def submit(self):
        return submit_kyc_case(self.bench.desk, self.caller, self.case)

    def complete(self, **given):
        """Everything that a case needs, handed in."""
        self.open(**given)
        self.state()
        document = self.hand_in()
        self.passkey()
        self.look(document)
        if given.get("level", Level.C2) >= Level.C2:
            self.attest()
        self.submit()
        return self.case

    def collect(self):
        return collect_passport(self.bench.desk, self.caller, self.case)
