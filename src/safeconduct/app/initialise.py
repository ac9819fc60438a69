"""The first entries of a record: who the officers are, which keys issue, and which keys the trust list begins with.

Owns what `init` writes down. Refuses officers who are one and the same. Makes no files: keys come from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import ProviderId, VariantId
from safeconduct.kernel.signing import ES256, VerifyingKey
from safeconduct.kernel.vocabulary import DirectiveKind
from safeconduct.record.events import Event
from safeconduct.record.events.trust import InstanceInitialised, PackPublished, TrustKeyAdded

# Seconds; officers renew a key with a change of the trust list before that.
KEY_LIFE = 5 * 365 * 86_400
# A key made at 12:00 must be good for documents that are dated earlier the same day by another clock.
BACKDATE = 86_400


class Party(msgspec.Struct, frozen=True):
    """Somebody with a key in the trust list from the start. Its key file is `roles/<party with - for :>.pem`.

    may_sign and the scope members are those of `TrustKeyAdded`.
    """

    party: str
    may_sign: tuple[str, ...]
    jurisdiction: str | None = None
    variants: tuple[VariantId, ...] = ()
    provider: ProviderId | None = None
    organisation: str | None = None

    @property
    def key_name(self) -> str:
        """Name of its key in the key directory."""
        return f"roles/{self.party.replace(':', '-')}"


OPERATOR = Party("operator", ("role:operator",))
ADJUDICATOR = Party("adjudicator", ("role:adjudicator",))
AUDITOR = Party("auditor", ("role:auditor",))
EVIDENCE_DESK = Party("evidence-desk", ("evidence_import",))
ANALYST = Party("analyst", ("role:analyst",))
DEFAULT_PARTIES = (OPERATOR, ADJUDICATOR, AUDITOR, EVIDENCE_DESK, ANALYST)


def provider_party(provider: str) -> Party:
    """A provider's own role, limited to its models; may also signal misuse of them."""
    return Party(f"provider:{provider}", ("role:provider", "misuse_signal"), provider=ProviderId(provider))


def organisation_party(organisation: str) -> Party:
    """The admin of one organisation."""
    return Party(f"organisation:{organisation}", ("role:organisation",), organisation=organisation)


def authority_party(authority: str, jurisdiction: str, variants: tuple[VariantId, ...] = ()) -> Party:
    """An authority: orders of every kind, licences and lists within its jurisdiction."""
    orders = tuple(f"directive:{kind}" for kind in DirectiveKind)
    return Party(
        f"authority:{authority}",
        ("role:authority", "licence", "org_list", *orders),
        jurisdiction=jurisdiction,
        variants=variants,
    )


def check_officers(officers: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Two public P-256 keys that differ, as the record keeps them. Raises InvalidInput."""
    if len(officers) != 2:
        raise InvalidInput(
            f"two officers are needed, not {len(officers)}", field="officers", remedy="give two public keys"
        )
    keys = []
    for index, jwk in enumerate(officers):
        try:
            key = VerifyingKey(jwk)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=f"officers[{index}]", remedy=error.remedy) from None
        if key.alg != ES256:
            raise InvalidInput("officers sign with P-256 keys", field=f"officers[{index}]")
        # The kid is the thumbprint, whatever was given: two officers under one kid would count as one.
        keys.append(VerifyingKey({"kty": "EC", "crv": "P-256", "x": key.jwk["x"], "y": key.jwk["y"]}))
    if keys[0].thumbprint == keys[1].thumbprint:
        raise InvalidInput(
            "both officers have the same key", field="officers[1]", remedy="give two people a key each"
        )
    return tuple(key.jwk for key in keys)


def first_entries(
    *,
    origin: str,
    profile: str,
    issuer: str,
    officers: Sequence[dict[str, Any]],
    issuer_keys: Sequence[dict[str, Any]],
    parties: Sequence[tuple[Party, dict[str, Any]]],
    packs: Sequence[PackPublished] = (),
    simulated: bool = False,
    now: int,
) -> list[Event]:
    """The events that begin a record. parties: with the public key of each; now: seconds. Raises InvalidInput."""
    checked = check_officers(officers)
    by_officers = tuple(jwk["kid"] for jwk in checked)
    names = [party.party for party, _ in parties]
    if len(set(names)) != len(names):
        raise InvalidInput("a party stands twice", field="parties")
    events: list[Event] = [
        InstanceInitialised(
            origin=origin,
            profile=profile,
            issuer=issuer,
            officers=checked,
            issuer_keys=tuple(issuer_keys),
            created_at=now,
            simulated=simulated,
        )
    ]
    for party, jwk in parties:
        key = VerifyingKey(jwk)
        events.append(
            TrustKeyAdded(
                kid=key.kid,
                jwk=key.jwk,
                party=party.party,
                may_sign=party.may_sign,
                jurisdiction=party.jurisdiction,
                variants=party.variants,
                provider=party.provider,
                valid_from=now - BACKDATE,
                valid_until=now + KEY_LIFE,
                officers=by_officers,
                recorded_at=now,
                organisation=party.organisation,
                development=profile == "development",
            )
        )
    events.extend(packs)
    return events
