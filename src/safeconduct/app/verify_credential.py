"""Who is behind a request at the gateway: the credential in its headers, verified on every request.

Owns the rules for the three headers and the memory that makes a known credential cheap. Every memory is bound to the
position of the record, so that no cached principal outlives a revocation. Refuses to say whether a model may be used.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from safeconduct.app.ports import Vault
from safeconduct.app.stored_claims import KEY_CLAIMS, read_claims
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.ids import KeyId
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import Binding
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.claims import Claims
from safeconduct.passport.dpop import ProofReplays, ProofVerifier
from safeconduct.passport.gateway_key import environment_of, is_loopback, network_permits, parse
from safeconduct.passport.principal import Principal
from safeconduct.passport.tokens import AccessToken, VerifiedTokens, verify_access_token
from safeconduct.record.events.holders import GatewayKeyRegistered
from safeconduct.record.state import State

MAX_CREDENTIAL_BYTES = 16 * 1024
_MAX_KEYS = 65_536
_NO_SECRET = "0" * 64


class StateSource(Protocol):
    """The state as this node knows it."""

    @property
    def state(self) -> State:
        """The fold of what this node has of the record."""
        ...


def _invalid(message: str, *, remedy: str = "", step: str = "credential") -> VerificationFailed:
    return VerificationFailed(message, step=step, code="PASSPORT_INVALID", remedy=remedy)


def _unbound(message: str, *, remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step="binding", code="BINDING_MISSING", remedy=remedy)


class CredentialVerifier:
    """Verifies credentials for one gateway worker. Not thread-safe.

    source: where the state is. vault: where the claims of gateway keys are. issuer, audience: as in access tokens.
    token_keys(kid): pinned keys that tokens are signed with. replays: shared by all workers that accept the same tokens.
    profile: keys of another environment are refused. loopback: this gateway's listener is reached from this machine only.
    """

    def __init__(
        self,
        source: StateSource,
        vault: Vault,
        *,
        issuer: str,
        audience: str,
        token_keys: Callable[[str], VerifyingKey | None],
        replays: ProofReplays,
        profile: str,
        loopback: bool,
    ) -> None:
        self._source = source
        self._vault = vault
        self._issuer = issuer
        self._audience = audience
        self._token_keys = token_keys
        self._proofs = ProofVerifier(replays)
        self._tokens = VerifiedTokens()
        self._environment = environment_of(profile)
        self._loopback = loopback
        # Verified key texts by SHA-256 of the whole text; valid at one position of the record only.
        self._keys: dict[bytes, tuple[Principal, GatewayKeyRegistered]] = {}
        self._keys_position = -1
        self._claims: dict[KeyId, tuple[str, Claims]] = {}

    def verify(
        self,
        *,
        authorization: bytes | None,
        dpop: list[bytes],
        x_api_key: bytes | None,
        method: str,
        url: str,
        source: str,
        now: int,
        peer: PeerCertificate | None = None,
    ) -> Principal:
        """Who is behind the request.

        authorization, x_api_key: the headers' values, None when absent; dpop: every DPoP header. url: as the client called
        it, made from this gateway's own base URL, never from the Host header. source: the peer's address. now: seconds.
        peer: the client certificate of the connection that the request came on, or None.
        Raises VerificationFailed, code PASSPORT_INVALID or BINDING_MISSING.
        """
        if authorization is None:
            if x_api_key is None:
                raise _invalid("no credential", remedy="send Authorization or x-api-key")
            return self._bearer(x_api_key, dpop, source, now, peer)
        scheme, _, credential = authorization.partition(b" ")
        # Two credentials that differ: one of them would be checked and the other acted upon elsewhere.
        if x_api_key is not None and not hmac.compare_digest(x_api_key, credential):
            raise _invalid("two credentials that differ", remedy="send one credential")
        name = scheme.lower()
        if name == b"dpop":
            return self._bound(credential, dpop, method, url, now)
        if name == b"bearer":
            return self._bearer(credential, dpop, source, now, peer)
        raise _invalid("another authentication scheme", remedy="use DPoP or Bearer")

    def _bound(self, credential: bytes, dpop: list[bytes], method: str, url: str, now: int) -> Principal:
        if len(dpop) != 1:
            raise _unbound("exactly one DPoP header is needed", remedy="sign one proof for each request")
        verified = self._token(credential, now)
        if verified.jkt is None:
            raise _unbound(
                "the token is bound to a certificate",
                remedy="send it as Bearer on the connection with the certificate",
            )
        try:
            proof = dpop[0].decode("ascii")
        except UnicodeDecodeError:
            raise _unbound("the proof is not ASCII") from None
        self._proofs.verify(proof, method=method, url=url, now=now, jkt=verified.jkt, access_token=credential)
        return verified.principal

    def _token(self, credential: bytes, now: int) -> AccessToken:
        if len(credential) > MAX_CREDENTIAL_BYTES:
            raise _invalid("an over-long credential")
        position = self._source.state.position
        known = self._tokens.get(credential, epoch=position, now=now)
        if known is not None:
            return known
        try:
            text = credential.decode("ascii")
        except UnicodeDecodeError:
            raise _invalid("the token is not ASCII") from None
        verified = verify_access_token(
            text, issuer=self._issuer, issuer_key=self._token_keys, audience=self._audience, now=now
        )
        self._tokens.put(credential, verified, epoch=position)
        return verified

    def _bearer(
        self, credential: bytes, dpop: list[bytes], source: str, now: int, peer: PeerCertificate | None
    ) -> Principal:
        if credential.startswith(b"sc_"):
            return self._key(credential, source, now)
        if peer is not None and peer.known is not None and not dpop:
            text, position, token = peer.known
            if (
                position == self._source.state.position
                and now < token.principal.expires
                and hmac.compare_digest(text, credential)
            ):
                return token.principal
        # Every token of ours is bound: as a mere bearer token it is a stolen one.
        verified = self._token(credential, now)
        if verified.x5t is not None:
            return self._certified(credential, verified, dpop, peer)
        raise _unbound(
            "the token is bound to a key and came without its proof"
            if not dpop
            else "the scheme must be DPoP",
            remedy="send Authorization: DPoP with a proof",
        )

    def _certified(
        self, credential: bytes, verified: AccessToken, dpop: list[bytes], peer: PeerCertificate | None
    ) -> Principal:
        # RFC 8705 3: the certificate of this very connection is the one that the token names.
        if peer is None or verified.x5t is None:
            raise _unbound(
                "the token is bound to a certificate and came without it",
                remedy="connect with TLS and the client certificate",
            )
        if not hmac.compare_digest(verified.x5t, peer.thumbprint):
            raise _unbound(
                "the token is bound to another certificate",
                remedy="get a token on this connection's certificate",
            )
        if dpop:
            raise _unbound("the token is bound to a certificate, not to a proof", remedy="leave DPoP out")
        peer.known = (credential, self._source.state.position, verified)
        return verified.principal

    def _key(self, credential: bytes, source: str, now: int) -> Principal:
        state = self._source.state
        if state.position != self._keys_position:
            self._keys.clear()
            self._keys_position = state.position
        digest = hashlib.sha256(credential).digest()
        known = self._keys.get(digest)
        if known is None:
            known = self._read_key(credential, state)
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
            self._keys[digest] = known
        principal, registered = known
        if not registered.valid_from <= now < registered.valid_until:
            raise _invalid("the gateway key has expired", remedy="make a new key")
        if registered.networks and not network_permits(registered.networks, source):
            raise _unbound(
                "the gateway key is not good from this network", remedy="add the network to a new key"
            )
        if registered.loopback_only and not (self._loopback and is_loopback(source)):
            raise _unbound(
                "the gateway key is good only at a gateway on loopback", remedy="use a passport with DPoP"
            )
        return principal

    def _read_key(self, credential: bytes, state: State) -> tuple[Principal, GatewayKeyRegistered]:
        key = parse(credential)
        if key is None or key.environment != self._environment:
            raise _invalid("not a gateway key of this instance")
        found = state.gateway_keys.get(key.id)
        # Compared also when there is no such key, so that the time taken does not tell which ids exist.
        fits = hmac.compare_digest(
            key.sha256(), found.registered.secret_sha256 if found is not None else _NO_SECRET
        )
        if found is None or not fits:
            raise _invalid("not a gateway key of this instance")
        if found.revoked_at is not None:
            raise _invalid("the gateway key was revoked", remedy="make a new key")
        registered = found.registered
        subject = state.subjects.get(registered.subject)
        if subject is None:
            raise _invalid("the gateway key's subject is unknown")
        claims = self._claims_of(registered)
        principal = Principal(
            subject=registered.subject,
            holder=registered.subject,
            kind=subject.enrolled.kind,
            passport=registered.passport,
            claims=claims,
            aal=registered.aal,
            authenticated_at=registered.authenticated_at,
            binding=Binding.KEY,
            expires=registered.valid_until,
            credential=registered.key,
            organisation=claims.organisation,
            project=registered.project,
            purpose=registered.purpose,
            gateway_key=registered.key,
            networks=registered.networks,
        )
        return principal, registered

    def _claims_of(self, registered: GatewayKeyRegistered) -> Claims:
        kept = self._claims.get(registered.key)
        if kept is not None and kept[0] == registered.claims_commitment:
            return kept[1]
        claims = read_claims(self._vault, KEY_CLAIMS, registered.key, commitment=registered.claims_commitment)
        if claims is None:
            raise _invalid("the claims of the gateway key are gone", remedy="make a new key")
        if len(self._claims) >= _MAX_KEYS:
            self._claims.clear()
        self._claims[registered.key] = (registered.claims_commitment, claims)
        return claims

    def forget(self, key: KeyId) -> None:
        """Drop the claims of a key from memory: its subject was erased."""
        self._claims.pop(key, None)
        self._keys.clear()
