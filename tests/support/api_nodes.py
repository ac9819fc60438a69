"""The API over a real embedded instance, with a role key for each role, a holder with a passport, and calls as each."""

from __future__ import annotations

import json
import secrets

import msgspec
from litestar.testing import TestClient
from tests.support.instances import NOON, make_instance, operator
from tests.support.role_tokens import role_token

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.initialise import Party, authority_party, organisation_party, provider_party
from safeconduct.app.issue_passport import issue_passport
from safeconduct.app.record_feed import RecordFeed
from safeconduct.gateway.quota_ledger import MemoryQuotaLedger
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Role, SubjectKind
from safeconduct.passport.claims import Claims
from safeconduct.passport.dpop import make_proof
from safeconduct.passport.issuance import present
from safeconduct.record.events.holders import OrganisationRegistered, SubjectEnrolled
from safeconduct.web.api.application import create_application
from safeconduct.web.api.assembly import node_of

NOW = NOON
ISSUER = "http://127.0.0.1:8781"
PARTIES = {
    Role.OPERATOR: "operator",
    Role.ADJUDICATOR: "adjudicator",
    Role.AUDITOR: "auditor",
    Role.PROVIDER: "provider:lab-a",
    Role.ORGANISATION: "organisation:org-a",
    Role.AUTHORITY: "authority:us",
    Role.GATEWAY: "gateway:edge",
    Role.ANALYST: "analyst",
}
GATEWAY_PARTY = Party("gateway:edge", ("role:gateway",))


class Person:
    """A subject with a key and a passport."""

    def __init__(self, bench, subject, claims, *, organisation=None, aal=3):
        self.bench = bench
        self.subject = subject
        self.signer = FileSigner.generate()
        bench.record.commit(
            [SubjectEnrolled(subject=subject, kind=SubjectKind.HUMAN, organisation=organisation)]
        )
        issued = issue_passport(
            bench.instance,
            operator(),
            subject=subject,
            claims=claims,
            holder_jwk=self.signer.public_jwk(),
            aal=aal,
            valid_until=bench.now + 30 * 86_400,
        )
        self.passport, self.sd_jwt = issued.passport, issued.sd_jwt

    def present(self, *, nonce=None, audience=ISSUER, disclose=None):
        if nonce is None:
            nonce, _ = self.bench.node.desk.nonces.give()
        return present(self.sd_jwt, disclose, self.signer, audience=audience, nonce=nonce, now=self.bench.now)


class ApiBench:
    """The application and everything behind it."""

    def __init__(self, tmp_path, clock=None):
        self.embedded = make_instance(
            tmp_path,
            clock=clock,
            parties=(
                provider_party("lab-a"),
                provider_party("lab-b"),
                organisation_party("org-a"),
                authority_party("us", "US"),
                GATEWAY_PARTY,
            ),
        )
        opened = self.embedded.opened
        self.clock = self.embedded.clock
        self.instance = opened.instance
        self.record = opened.instance.record
        self.vault = opened.instance.vault
        self.log = opened.decision_log
        self.faults = []
        self.quotas = MemoryQuotaLedger()
        self.ledger = DecisionLog(self.log, self.vault, self.clock, node="test")
        self.feed = RecordFeed(
            opened.record_log,
            self.record,
            self.clock,
            signer=lambda: opened.keys.signer("record-log"),
        )
        self.feed.start()
        self.rebuild()
        self.record.commit(
            [
                OrganisationRegistered(
                    organisation=name, legal_name=f"Sample {name}", country="US", sector="other"
                )
                for name in ("org-a", "org-b")
            ]
        )
        self.applicant = FileSigner.generate()
        self.holder = Person(self, "sub-holder", Claims(ial=2, citizenships=("FR",)), organisation="org-a")

    @property
    def now(self):
        return int(self.clock.now())

    def rebuild(self, *, profile="development"):
        """The same instance under a new application; another profile changes what is shown, not what was checked."""
        node = node_of(
            self.embedded.opened,
            self.ledger,
            faults=lambda: self.faults,
            record_feed=self.feed,
            quotas=self.quotas,
        )
        if profile != "development":
            node = msgspec.structs.replace(
                node, instance=msgspec.structs.replace(self.instance, profile=profile)
            )
        self.node = node
        self.application = create_application(node)

    def close(self):
        self.feed.close()
        self.embedded.close()

    def client(self):
        return TestClient(self.application, raise_server_exceptions=False)

    def token(self, party, **more):
        return role_token(self.embedded.key(party), party=party, audience=ISSUER, now=self.now, **more)

    def credential(self, role, method="GET", path="/"):
        """The header that proves a role (None: no header); an applicant's is for one method and path."""
        if role is None:
            return {}
        if role is Role.APPLICANT:
            return {"dpop": self.proof(self.applicant, method, path)}
        if role is Role.HOLDER:
            return {"authorization": f"SD-JWT {self.holder.present()}"}
        return {"authorization": f"Bearer {self.token(PARTIES[role])}"}

    def proof(self, signer, method, path):
        """A proof of a key for one call."""
        url = ISSUER + path.split("?")[0]
        return make_proof(signer, method=method, url=url, now=self.now, random=secrets.token_bytes)

    def call(self, client, method, path, role=None, body=None, **more):
        """One call; a body is sent as JSON."""
        headers = {**self.credential(role, method, path), **more.pop("headers", {})}
        if body is not None:
            headers = {"content-type": "application/json", **headers}
            more["content"] = json.dumps(body) if not isinstance(body, bytes) else body
        return client.request(method, path, headers=headers, **more)
