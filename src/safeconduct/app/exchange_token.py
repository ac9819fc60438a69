"""Use case: a passport or a mandate, presented once with a proof of possession, for an access token (RFC 8693).

Checks passport, binding and status, never orders or grants: whether a model may be used is decided with each request.
Our profile binds the token to the passport's own key (for an agent: the mandate's), so that a stolen presentation cannot be
bound to another key: by a DPoP proof with that key, or by a client certificate over it on the call's own TLS connection. A refusal is `CredentialRefused`; the caller records it and answers OAuth `invalid_grant`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.app.check_presentation import (
    About,
    CredentialRefused,
    PresentationDesk,
    check_passport_in_force,
    check_proof,
)
from safeconduct.app.commit import instant
from safeconduct.app.register_mandate import chain_above, check_chain_in_force, claims_name
from safeconduct.app.stored_claims import MANDATE_CLAIMS, read_claims
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import PROHIBITED_PURPOSES, Binding, Code
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.dpop import ProofReplays, ProofVerifier
from safeconduct.passport.mandate import MANDATE_TOKEN_TYPE, verify_mandate_presentation
from safeconduct.passport.principal import Principal
from safeconduct.passport.token_requests import GRANT_TYPE, PASSPORT_TOKEN_TYPE, TOKEN_PATH
from safeconduct.passport.tokens import (
    MAX_SECONDS,
    AccessAsked,
    StatusIndexes,
    issue_access_token,
    read_access_asked,
)
from safeconduct.record.events.holders import MandateRegistered

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - an identifier


class TokenRequest(msgspec.Struct, frozen=True):
    """A parsed request. dpop: every DPoP header that came. authorization_details: as parsed JSON, or None.

    certificate: the one that the caller's TLS connection proved, or None.
    """

    grant_type: str
    subject_token: str
    subject_token_type: str
    dpop: tuple[str, ...]
    authorization_details: Any = None
    audience: str | None = None
    certificate: PeerCertificate | None = None

    def __repr__(self) -> str:
        return f"<TokenRequest {self.subject_token_type}>"


class TokenResponse(msgspec.Struct, frozen=True):
    """RFC 8693 2.2.1, RFC 9449 5: the members of the answer. expires_in: seconds. token_type: Bearer with a certificate."""

    access_token: str
    expires_in: int
    authorization_details: list[dict[str, Any]]
    token_type: str = "DPoP"  # noqa: S105 - a scheme
    issued_token_type: str = ACCESS_TOKEN_TYPE

    def __repr__(self) -> str:
        return f"<TokenResponse {self.expires_in} s>"


class _Possession(msgspec.Struct, frozen=True):
    """The key that the caller proved to hold, and what a token of theirs is bound to. Exactly one of jkt and x5t is there."""

    key: VerifyingKey
    jkt: str | None = None
    x5t: str | None = None

    @property
    def header(self) -> str:
        """What to name when the key is the wrong one."""
        return "DPoP" if self.jkt is not None else "certificate"


class TokenExchange:
    """The token endpoint's use case; one per process."""

    def __init__(self, desk: PresentationDesk, replays: ProofReplays) -> None:
        self._desk = desk
        self._proofs = ProofVerifier(replays)

    def exchange(self, request: TokenRequest) -> TokenResponse:
        """Raises InvalidInput for a malformed request, CredentialRefused for a credential that does not hold."""
        instance = self._desk.instance
        if request.grant_type != GRANT_TYPE:
            raise InvalidInput("another grant type", field="grant_type", remedy=f"use {GRANT_TYPE}")
        if request.audience is not None and request.audience != instance.audience:
            raise InvalidInput("another audience", field="audience", remedy=f"use {instance.audience}")
        asked = read_access_asked(request.authorization_details)
        if asked.purpose in PROHIBITED_PURPOSES:
            raise InvalidInput("a prohibited purpose", field="authorization_details[0].purpose")
        now = instant(instance)
        proof = self._prove(request, now)
        if request.subject_token_type == PASSPORT_TOKEN_TYPE:
            return self._for_holder(request.subject_token, proof, asked, now)
        if request.subject_token_type == MANDATE_TOKEN_TYPE:
            return self._for_agent(request.subject_token, proof, asked, now)
        raise InvalidInput(
            "another token type",
            field="subject_token_type",
            remedy=f"use {PASSPORT_TOKEN_TYPE} or {MANDATE_TOKEN_TYPE}",
        )

    def _prove(self, request: TokenRequest, now: int) -> _Possession:
        dpop = request.dpop
        if not dpop and request.certificate is not None:
            # RFC 8705 2.2: the handshake proved the key; whose it is, the passport says.
            try:
                return _Possession(request.certificate.key(), x5t=request.certificate.thumbprint)
            except InvalidInput as error:
                raise CredentialRefused(
                    error.message,
                    code=Code.BINDING_MISSING,
                    step="proof",
                    field="certificate",
                    remedy=error.remedy,
                ) from None
        url = f"{self._desk.instance.issuer}{TOKEN_PATH}"
        proof = check_proof(
            self._proofs,
            dpop,
            url=url,
            now=now,
            wanted="exactly one DPoP header, or a client certificate, is needed",
        )
        return _Possession(proof.key, jkt=proof.jkt)

    def _for_holder(
        self, presentation: str, proof: _Possession, asked: AccessAsked, now: int
    ) -> TokenResponse:
        verified = self._desk.check(presentation, now=now)
        state = self._desk.instance.record.state
        about: About = {
            "subject": verified.subject,
            "holder": verified.subject,
            "passport": verified.passport,
        }
        if proof.key.thumbprint != verified.holder_thumbprint:
            raise CredentialRefused(
                "the proof was made with another key than the passport's",
                code=Code.BINDING_MISSING,
                step="proof",
                field=proof.header,
                remedy="sign proof and presentation with the passport's key, or make the certificate over it",
                **about,
            )
        held = state.passports[verified.passport].issued
        subject = state.subjects.get(verified.subject)
        if subject is None:
            raise CredentialRefused("an unknown subject", code=Code.PASSPORT_INVALID, step="status", **about)
        principal = Principal(
            subject=verified.subject,
            holder=verified.subject,
            kind=subject.enrolled.kind,
            passport=verified.passport,
            claims=verified.claims,
            aal=held.aal,
            authenticated_at=verified.bound_at,
            binding=Binding.DPOP if proof.jkt is not None else Binding.MTLS,
            expires=min(now + MAX_SECONDS, verified.valid_until),
            credential="",
            organisation=verified.claims.organisation,
            project=asked.project,
            purpose=asked.purpose,
            variants=asked.models,
        )
        return self._sign(principal, proof, (), StatusIndexes(held.status_index), now)

    def _for_agent(
        self, presentation: str, proof: _Possession, asked: AccessAsked, now: int
    ) -> TokenResponse:
        instance = self._desk.instance
        try:
            presented = verify_mandate_presentation(
                presentation,
                agent_key=proof.key,
                audience=instance.issuer,
                nonce=self._desk.nonces.use,
                now=now,
            )
        except VerificationFailed as failure:
            raise CredentialRefused.of(failure) from None
        state = instance.record.state
        links = chain_above(state, presented.mandate)
        # Who holds the key, before anything is said about the mandate: others learn nothing of its state.
        if (
            not links
            or links[-1].registered.key != proof.key.thumbprint
            or links[-1].registered.agent != presented.agent
        ):
            raise CredentialRefused(
                "no such mandate for this key",
                code=Code.DELEGATION,
                step="mandate",
                remedy="register a mandate for the agent's key",
            )
        check_chain_in_force(links, now)
        last, first = links[-1].registered, links[0].registered
        check_passport_in_force(state, last.passport, now, subject=last.agent, holder=last.human)
        _check_asked(asked, last)
        claims = read_claims(instance.vault, MANDATE_CLAIMS, claims_name(last.passport, first.mandate))
        if claims is None:
            raise CredentialRefused(
                "the human's claims are gone",
                code=Code.PASSPORT_INVALID,
                step="mandate",
                remedy="sign a new mandate",
                subject=last.agent,
                holder=last.human,
                passport=last.passport,
            )
        principal = Principal(
            subject=last.agent,
            holder=last.human,
            kind=state.subjects[last.agent].enrolled.kind,
            passport=last.passport,
            claims=claims,
            aal=last.aal,
            authenticated_at=last.signed_at,
            binding=Binding.DPOP if proof.jkt is not None else Binding.MTLS,
            expires=min(
                now + MAX_SECONDS,
                state.passports[last.passport].issued.valid_until,
                *(link.registered.valid_until for link in links),
            ),
            credential="",
            organisation=claims.organisation,
            mandates=tuple(link.registered.mandate for link in links),
            project=asked.project or last.project,
            purpose=asked.purpose or (last.purposes[0] if len(last.purposes) == 1 else None),
            variants=asked.models or last.variants,
        )
        status = StatusIndexes(
            state.passports[last.passport].issued.status_index,
            tuple(link.registered.status_index for link in links),
        )
        return self._sign(principal, proof, tuple(link.registered.agent for link in links), status, now)

    def _sign(
        self,
        principal: Principal,
        proof: _Possession,
        actors: tuple[Any, ...],
        status: StatusIndexes,
        now: int,
    ) -> TokenResponse:
        instance = self._desk.instance
        signed = issue_access_token(
            principal,
            jkt=proof.jkt,
            x5t=proof.x5t,
            actors=actors,
            status=status,
            issuer=instance.issuer,
            audience=instance.audience,
            signer=instance.keys.signer("token"),
            now=now,
            random=instance.random,
        )
        details: dict[str, Any] = {"type": "safeconduct_model_access", "models": list(principal.variants)}
        if principal.purpose is not None:
            details["purpose"] = str(principal.purpose)
        if principal.project is not None:
            details["project"] = principal.project
        return TokenResponse(
            access_token=signed,
            expires_in=principal.expires - now,
            authorization_details=[details],
            token_type="DPoP" if proof.jkt is not None else "Bearer",
        )


def _check_asked(asked: AccessAsked, mandate: MandateRegistered) -> None:
    about: About = {"subject": mandate.agent, "holder": mandate.human, "passport": mandate.passport}
    wider = sorted(set(asked.models) - set(mandate.variants))
    problem = ""
    if wider:
        problem = f"models {', '.join(wider)[:200]} are not in the mandate"
    elif asked.purpose is not None and asked.purpose not in mandate.purposes:
        problem = f"purpose {asked.purpose} is not in the mandate"
    elif mandate.project is not None and asked.project not in (None, mandate.project):
        problem = "the mandate is for another project"
    if problem:
        raise CredentialRefused(
            problem,
            code=Code.DELEGATION,
            step="mandate",
            field="authorization_details",
            remedy="ask for what the mandate covers",
            **about,
        )
