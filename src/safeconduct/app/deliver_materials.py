"""Use case: hand a gateway the secrets it needs, sealed to a key that only this request of this gateway knows.

Owns who may ask for what: upstream credentials of deployments in service, claims stored with gateway keys in force, the key
from which users' names at providers are made. Refuses everything else in the vault. Secrets never stand in the record, and
on the wire they are readable neither to a proxy that ends TLS nor to anybody who later gets hold of the gateway's key.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from safeconduct.app.ports import Caller, Instance
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.scope import require_role
from safeconduct.app.stored_claims import KEY_CLAIMS
from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json
from safeconduct.kernel.errors import Forbidden, InvalidInput, VerificationFailed
from safeconduct.kernel.ids import DeploymentId, KeyId
from safeconduct.kernel.jose import sign_jwt, verify_jwt
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.state import State

REQUEST_TYPE = "material-request+jwt"
REQUEST_SECONDS = 60
MOST_WANTED = 200
PSEUDONYM_KIND = "node-secret"
PSEUDONYM_NAME = "pseudonyms"

# RFC 9180 with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_logger = logging.getLogger(__name__)

Wanted = tuple[str, str]
"""Kind and name of a document of the vault."""


class Delivery(msgspec.Struct, frozen=True):
    """sealed: kind, name and base64url of the sealed document, for each that is there; the others are absent."""

    sealed: tuple[tuple[str, str, str], ...]


def _context(party: str, jti: str, kind: str, name: str) -> bytes:
    return canonical_json(["safeconduct material v1", party, jti, kind, name])


class MaterialRequest:
    """A gateway's side of one delivery: `text` is sent, `open` reads the answer. Good once."""

    def __init__(self, signer: Signer, *, party: str, audience: str, wanted: list[Wanted], now: int) -> None:
        self._party = party
        self._private = X25519PrivateKey.generate()
        self._jti = secrets.token_urlsafe(16)
        claims: dict[str, Any] = {
            "iss": party,
            "aud": audience,
            "iat": now,
            "exp": now + REQUEST_SECONDS,
            "jti": self._jti,
            "epk": b64u(self._private.public_key().public_bytes_raw()),
            "wanted": [list(one) for one in wanted],
        }
        self.text = sign_jwt(claims, typ=REQUEST_TYPE, signer=signer)

    def open(self, delivery: Delivery) -> dict[Wanted, bytes]:
        """The documents in the clear. Raises VerificationFailed when one was not sealed for this request."""
        found = {}
        for kind, name, sealed in delivery.sealed:
            try:
                found[kind, name] = _SUITE.decrypt(
                    b64u_decode(sealed, field="sealed"),
                    self._private,
                    info=_context(self._party, self._jti, kind, name),
                )
            except (InvalidTag, ValueError, InvalidInput):
                raise VerificationFailed(
                    "a document was not sealed for this request", step="seal", code="", field=f"{kind}/{name}"
                ) from None
        return found


def deliver_materials(instance: Instance, caller: Caller, request: str) -> Delivery:
    """What an enrolled gateway asked for and may have. Raises Forbidden, VerificationFailed, InvalidInput."""
    require_role(caller, Role.GATEWAY)
    state = instance.record.state
    trusted = state.trust.get(caller.id)
    if trusted is None:
        raise Forbidden("the gateway's key is not in the trust list")
    key = VerifyingKey(trusted.added.jwk, kid=trusted.added.kid)
    # Signed by the very key that the call was made with: a stolen role token alone opens nothing.
    claims, _ = verify_jwt(
        request,
        typ=REQUEST_TYPE,
        key_for=lambda kid, _claims: key if kid == key.kid else None,
        now=instance.clock.now(),
        audience=instance.issuer,
        issuer=caller.party,
        max_lifetime=REQUEST_SECONDS,
    )
    public, jti, wanted = _read(claims)
    scope = frozenset(trusted.added.variants)
    now = instance.clock.now()
    sealed = []
    for kind, name in wanted:
        if not _may_have(state, kind, name, scope=scope, now=now):
            continue
        document = instance.vault.get(kind, name)
        if document is not None:
            info = _context(caller.party, jti, kind, name)
            sealed.append((kind, name, b64u(_SUITE.encrypt(document, public, info=info))))
    _logger.info("delivered %d of %d documents to %s", len(sealed), len(wanted), caller.party)
    return Delivery(sealed=tuple(sealed))


def _read(claims: Mapping[str, Any]) -> tuple[X25519PublicKey, str, list[Wanted]]:
    wanted, jti, epk = claims.get("wanted"), claims.get("jti"), claims.get("epk")
    if not isinstance(jti, str) or not 16 <= len(jti) <= 64:
        raise InvalidInput("jti is missing, short or over-long", field="jti")
    if not isinstance(wanted, list) or not 0 < len(wanted) <= MOST_WANTED:
        raise InvalidInput(f"1 to {MOST_WANTED} documents are asked for at a time", field="wanted")
    pairs: list[Wanted] = []
    for one in wanted:
        if not isinstance(one, list) or len(one) != 2 or not all(isinstance(part, str) for part in one):
            raise InvalidInput("not a kind and a name", field="wanted")
        pairs.append((one[0], one[1]))
    try:
        public = X25519PublicKey.from_public_bytes(b64u_decode(str(epk), field="epk"))
    except ValueError:
        raise InvalidInput("not an X25519 public key", field="epk") from None
    return public, jti, pairs


def _may_have(state: State, kind: str, name: str, *, scope: frozenset[str], now: float) -> bool:
    if kind == CREDENTIAL_KIND:
        deployment = state.deployments.get(DeploymentId(name))
        return (
            deployment is not None
            and deployment.retired_at is None
            and (not scope or deployment.registered.variant in scope)
        )
    if kind == KEY_CLAIMS:
        found = state.gateway_keys.get(KeyId(name))
        return found is not None and found.revoked_at is None and now < found.registered.valid_until
    return kind == PSEUDONYM_KIND and name == PSEUDONYM_NAME
