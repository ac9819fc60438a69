"""An embedded instance with an enrolled person, their passport, a desk and a token endpoint: for tests of credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.holders import CLAIMS, HOLDER_KEY, CountedBytes
from tests.support.instances import EmbeddedInstance, make_instance, operator

from safeconduct.app.check_presentation import PresentationDesk
from safeconduct.app.exchange_token import (
    TokenExchange,
    TokenRequest,
    TokenResponse,
)
from safeconduct.app.issue_passport import IssuedPassport, issue_passport
from safeconduct.app.nonces import Nonces
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.kernel.ids import GrantId, ModelId, OrganisationId, ProviderId, SubjectId, VariantId
from safeconduct.kernel.signing import FileSigner, VerifyingKey
from safeconduct.kernel.vocabulary import Level, Purpose, SubjectKind, Surface
from safeconduct.passport.dpop import ReplayMemory, make_proof
from safeconduct.passport.issuance import present
from safeconduct.passport.token_requests import GRANT_TYPE, PASSPORT_TOKEN_TYPE
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered

HUMAN = SubjectId("sub_human")
VARIANT = VariantId("sample-variant")


class Credentials:
    """What the tests work with; close it by closing `embedded`."""

    def __init__(self, directory: Path, **given: Any) -> None:
        self.embedded: EmbeddedInstance = make_instance(directory, **given)
        self.instance = self.embedded.instance
        now = self.embedded.now
        self.instance.record.commit(
            [
                ProviderRegistered(ProviderId("lab"), OrganisationId("org_lab"), "US"),
                ModelRegistered(ModelId("sample"), ProviderId("lab")),
                VariantRegistered(VARIANT, ModelId("sample"), Level.C2, ()),
                SubjectEnrolled(HUMAN, SubjectKind.HUMAN, OrganisationId("org_sample")),
                GrantGiven(
                    grant=GrantId("grt_1"),
                    by_provider=None,
                    by_organisation=OrganisationId("org_sample"),
                    to_organisation=None,
                    to_group=None,
                    to_subject=HUMAN,
                    variants=(VARIANT,),
                    purposes=(Purpose.CODING, Purpose.GENERAL),
                    surfaces=(Surface.API, Surface.AGENT),
                    regions=(),
                    valid_from=now,
                    valid_until=now + 86_400,
                    approved_by=("a",),
                    requested_by="b",
                ),
            ]
        )
        self.random = CountedBytes("credentials")
        self.nonces = Nonces(self.embedded.clock, self.random)
        self.desk = PresentationDesk(self.instance, self.nonces)
        self.exchange = TokenExchange(self.desk, ReplayMemory())
        self.issued: IssuedPassport = self.issue(HOLDER_KEY)

    def issue(self, holder: FileSigner, subject: SubjectId = HUMAN, **changes: Any) -> IssuedPassport:
        given: dict[str, Any] = {
            "claims": CLAIMS, "aal": 3, "valid_until": self.embedded.now + 7 * 86_400, **changes
        }  # fmt: skip
        return issue_passport(
            self.instance, operator(), subject=subject, holder_jwk=holder.public_jwk(), **given
        )

    def presentation(
        self, disclose: Any = None, *, nonce: str | None = None, audience: str | None = None
    ) -> str:
        return present(
            self.issued.sd_jwt,
            disclose,
            HOLDER_KEY,
            audience=audience or self.instance.issuer,
            nonce=nonce or self.nonces.give()[0],
            now=self.embedded.now,
        )

    def proof(self, signer: FileSigner = HOLDER_KEY, **changes: Any) -> str:
        given: dict[str, Any] = {
            "method": "POST",
            "url": f"{self.instance.issuer}/oauth/token",
            "now": self.embedded.now,
            "random": self.random,
            **changes,
        }
        return make_proof(signer, **given)

    def request(self, **changes: Any) -> TokenRequest:
        given: dict[str, Any] = {
            "grant_type": GRANT_TYPE,
            "subject_token": changes.pop("subject_token", None) or self.presentation(),
            "subject_token_type": PASSPORT_TOKEN_TYPE,
            "dpop": (self.proof(),),
            **changes,
        }
        return TokenRequest(**given)

    def token(self, **changes: Any) -> TokenResponse:
        return self.exchange.exchange(self.request(**changes))

    def verifier(self, *, loopback: bool = True, profile: str = "development") -> CredentialVerifier:
        key = VerifyingKey(self.instance.keys.signer("token").public_jwk())
        return CredentialVerifier(
            self.instance.record,
            self.instance.vault,
            issuer=self.instance.issuer,
            audience=self.instance.audience,
            token_keys=lambda kid: key if kid == key.kid else None,
            replays=ReplayMemory(),
            profile=profile,
            loopback=loopback,
        )


def call(at: Credentials, verifier: Any, token: str, **changes: Any) -> Any:
    url = f"{at.instance.audience}/v1/messages"
    proof = at.proof(url=url, access_token=token).encode()
    given: dict[str, Any] = {
        "authorization": b"DPoP " + token.encode(), "dpop": [proof], "x_api_key": None, "method": "POST",
        "url": url, "source": "127.0.0.1", "now": at.embedded.now,
    }  # fmt: skip
    return verifier.verify(**{**given, **changes})
