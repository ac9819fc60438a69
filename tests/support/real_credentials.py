"""The gateway's real credential check in a running gateway of tests: tokens, proofs and gateway keys that are what they seem."""

import secrets

import msgspec
from tests.support.gateways import chat, principal_of, request

from safeconduct.app.stored_claims import KEY_CLAIMS, keep_claims
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.dpop import ReplayMemory, make_proof
from safeconduct.passport.gateway_key import generate
from safeconduct.passport.tokens import StatusIndexes, issue_access_token
from safeconduct.record.events import GatewayKeyRegistered

ISSUER = "https://issuer.example"
AUDIENCE = "http://gateway.test"
PATH = "/v1/chat/completions"


class RealCredentials:
    """Puts the real verifier into a running gateway, and makes credentials that it accepts."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.token_key = FileSigner.generate()
        self.holder_key = FileSigner.generate()
        gateway.node._verifier = CredentialVerifier(
            gateway.node,
            gateway.vault,
            issuer=ISSUER,
            audience=AUDIENCE,
            token_keys=lambda kid: self.token_key.verifying_key() if kid == self.token_key.kid else None,
            replays=ReplayMemory(),
            profile="development",
            loopback=True,
        )

    @property
    def now(self):
        return int(self.gateway.clock.now())

    def token(self, subject="ann", *, audience=AUDIENCE, signer=None, issuer=ISSUER, now=None, **changes):
        """A token bound to the holder's key."""
        now = self.now if now is None else now
        return issue_access_token(
            principal_of(self.gateway.world, subject, **{"expires": now + 300, **changes}),
            jkt=self.holder_key.verifying_key().thumbprint,
            actors=(),
            status=StatusIndexes(passport=1),
            issuer=issuer,
            audience=audience,
            signer=signer or self.token_key,
            now=now,
            random=secrets.token_bytes,
        )

    def proof(self, token, *, url=AUDIENCE + PATH, method="POST", signer=None):
        return make_proof(
            signer or self.holder_key,
            method=method,
            url=url,
            now=self.now,
            random=secrets.token_bytes,
            access_token=token,
        )

    def bound(self, token=None, **proof):
        """Header lines of a token with its proof."""
        token = self.token() if token is None else token
        return [f"Authorization: DPoP {token}", f"DPoP: {self.proof(token, **proof)}"]

    def key(self, subject="ann", **facts):
        """A registered gateway key."""
        world = self.gateway.world
        key = generate("development", secrets.token_bytes)
        commitment = keep_claims(
            self.gateway.vault,
            KEY_CLAIMS,
            key.id,
            subject=subject,
            claims=world.claims[subject],
            random=secrets.token_bytes,
        )
        given = {
            "passport": f"pass-{subject}",
            "project": None,
            "purpose": "vuln_triage",
            "networks": ("127.0.0.0/8",),
            "aal": 2,
            "authenticated_at": world.start,
            "valid_from": world.start,
            "valid_until": world.end,
            **facts,
        }
        self.gateway.change(
            GatewayKeyRegistered(
                key=key.id,
                subject=subject,
                secret_sha256=key.sha256(),
                claims_commitment=commitment,
                **given,
            )
        )
        return key

    def post(self, *headers, path=PATH, host="gateway.test", method="POST", body=None, **members):
        """One request with exactly these credentials."""
        data = msgspec.json.encode(chat(**members)) if body is None else body
        return self.gateway.send(request(method, path, data, key=None, headers=headers, host=host))[0]
