"""Who applies: whoever proves to hold the key their file was opened with, call by call (a DPoP proof, RFC 9449, without a token).

Owns that a proof is for this very method and address and counts once. The key is the applicant's only credential until a passport
is bound to one of their authenticators.
"""

from __future__ import annotations

from safeconduct.app.ports import Caller
from safeconduct.kernel.errors import Unauthenticated, VerificationFailed
from safeconduct.kernel.vocabulary import Role
from safeconduct.passport.dpop import ProofReplays, ProofVerifier


class ApplicantAuthenticator:
    """Verifies applicants' proofs. issuer: our address, which their proofs name. replays: shared by all who accept proofs."""

    def __init__(self, issuer: str, replays: ProofReplays) -> None:
        self._issuer = issuer
        self._proofs = ProofVerifier(replays)

    def authenticate(self, proofs: list[str], *, method: str, path: str, now: float) -> Caller:
        """The applicant. Raises Unauthenticated."""
        if len(proofs) != 1:
            raise Unauthenticated(
                "the call carries several proofs", field="dpop", remedy="send one DPoP header"
            )
        try:
            proof = self._proofs.verify(proofs[0], method=method, url=f"{self._issuer}{path}", now=now)
        except VerificationFailed as error:
            raise Unauthenticated(
                f"the proof is not accepted: {error.message}",
                field=f"dpop.{error.field}" if error.field else "dpop",
                remedy=error.remedy or "make a proof per call, for its method and address",
            ) from None
        jwk = {name: proof.key.jwk[name] for name in ("kty", "crv", "x", "y")}
        return Caller(role=Role.APPLICANT, party="applicant", id=proof.jkt, jwk=jwk)
