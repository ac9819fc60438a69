"""Events about the instance itself: its beginning, the trust list and the policy packs."""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.kernel.ids import ProviderId, VariantId


class InstanceInitialised(msgspec.Struct, frozen=True, tag="instance_initialised", tag_field="type"):
    """The first entry. officers: public JWKs of the two officers who may change the trust list together."""

    origin: str
    profile: str
    issuer: str
    officers: tuple[dict[str, Any], ...]
    issuer_keys: tuple[dict[str, Any], ...]
    created_at: int
    simulated: bool = False


class OfficersReplaced(msgspec.Struct, frozen=True, tag="officers_replaced", tag_field="type"):
    """Two others may change the trust list together from now on. officers: their public JWKs; by: thumbprints of who signed."""

    officers: tuple[dict[str, Any], ...]
    by: tuple[str, ...]
    at: int


class TrustKeyAdded(msgspec.Struct, frozen=True, tag="trust_key_added", tag_field="type"):
    """A key may sign these kinds of document within this scope.

    may_sign: of `directive:<kind> licence org_list misuse_signal evidence_import passport enclave_attestation role:<role>`.
    jurisdiction, variants, provider, organisation: None or empty means no limit of that sort.
    development: a key that a production profile refuses.
    """

    kid: str
    jwk: dict[str, Any]
    party: str
    may_sign: tuple[str, ...]
    jurisdiction: str | None
    variants: tuple[VariantId, ...]
    provider: ProviderId | None
    valid_from: int
    valid_until: int
    officers: tuple[str, ...]
    recorded_at: int
    organisation: str | None = None
    development: bool = False


class TrustKeyRevoked(msgspec.Struct, frozen=True, tag="trust_key_revoked", tag_field="type"):
    """A key may sign no more from `from_` on; what it signed before stays, flagged.

    successor: the party whose keys may rescind what this party ordered.
    """

    kid: str
    from_: int
    cause: str
    officers: tuple[str, ...]
    recorded_at: int
    successor: str | None = None


class InstanceKeyRotated(msgspec.Struct, frozen=True, tag="instance_key_rotated", tag_field="type"):
    """One of the instance's own keys gave way to another.

    key: `issuer | status | token | record-log | decision-log | worker-log | root`. jwk, previous: the new public key and the one before,
    each with its kid; empty for the root key, which has no public half.
    previous_until: first second at which the previous key verifies nothing more. cause: `scheduled | compromised`.
    """

    key: str
    jwk: dict[str, Any]
    previous: dict[str, Any]
    previous_until: int
    cause: str
    by: str
    at: int


class PackPublished(msgspec.Struct, frozen=True, tag="pack_published", tag_field="type"):
    """A version of a policy pack: Cedar text as validated at publication.

    status: draft | active | suspended | rescinded. sha256: of `policies`.
    """

    pack: str
    version: str
    kind: str
    title: str
    legal_source: str
    jurisdiction: str
    status: str
    effective_from: int
    effective_until: int | None
    policies: str
    sha256: str
    recorded_at: int
    parameters: dict[str, Any] = {}


class PackStatusChanged(msgspec.Struct, frozen=True, tag="pack_status_changed", tag_field="type"):
    """A pack version became active, suspended or rescinded."""

    pack: str
    version: str
    status: str
    by: str
    at: int
