"""Issuing, presenting and verifying a passport."""

from __future__ import annotations

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from tests.support.holders import (
    CLAIMS,
    HOLDER_KEY,
    ISSUER_KEY,
    NOW,
    make_passport,
    make_presentation,
    verify,
)

from safeconduct.kernel.canonical import b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.vocabulary import Compartment, Level, PassportStatus, UsPerson
from safeconduct.passport.claims import Claims
from safeconduct.passport.facts import decode_claims, encode_claims
from safeconduct.passport.issuance import open_passport


def test_everything_disclosed_gives_all_claims() -> None:
    assert verify(make_presentation()).claims == CLAIMS


def test_only_what_is_disclosed_is_seen() -> None:
    claims = verify(make_presentation(["level", "us_person.ear", "compartments.BIO"])).claims
    assert claims == Claims(
        level=Level.C3, us_person=(("ear", UsPerson.NO),), compartments=(Compartment.BIO,)
    )


def test_nothing_disclosed_gives_no_claims() -> None:
    assert verify(make_presentation([])).claims == Claims()


def test_a_name_that_the_passport_does_not_hold_is_named() -> None:
    with pytest.raises(InvalidInput, match="compartments.RAD"):
        make_presentation(["compartments.RAD"])


def test_undisclosed_facts_do_not_stand_in_the_presentation() -> None:
    presentation = make_presentation(["level"])
    texts = "".join(b64u_decode(part).decode() for part in presentation.split("~")[1:-1])
    assert "C3" in texts
    for hidden in ("FR", "NO_ZDR", "CYB", "org_sample", "engineer"):
        assert hidden not in texts


def test_an_independent_library_verifies_the_issuers_signature_and_the_binding() -> None:
    presentation = make_presentation()
    signed, binding = presentation.split("~")[0], presentation.split("~")[-1]
    for text, signer in ((signed, ISSUER_KEY), (binding, HOLDER_KEY)):
        key = ECKey.import_key({name: signer.public_jwk()[name] for name in ("kty", "crv", "x", "y")})
        assert jws.deserialize_compact(text, key, algorithms=["ES256"]).headers()["alg"] == "ES256"


def test_the_never_disclosable_members_stand_in_the_open() -> None:
    signed = make_passport().split("~")[0]
    payload = strict_json(b64u_decode(signed.split(".")[1]))
    assert set(payload) == {
        "iss",
        "sub",
        "jti",
        "iat",
        "nbf",
        "exp",
        "vct",
        "cnf",
        "status",
        "_sd_alg",
        "_sd",
    }
    assert strict_json(b64u_decode(signed.split(".")[0]))["typ"] == "dc+sd-jwt"


@pytest.mark.parametrize("status", [PassportStatus.INVALID, PassportStatus.SUSPENDED])
def test_status_is_checked_last_and_told(status: PassportStatus) -> None:
    with pytest.raises(VerificationFailed) as failed:
        verify(make_presentation(), status=lambda *_: status)
    assert (failed.value.step, failed.value.code) == ("status", "PASSPORT_REVOKED")


def test_a_failed_presentation_uses_no_nonce_up() -> None:
    asked: list[str] = []
    broken = make_presentation(audience="https://other.example")
    with pytest.raises(VerificationFailed):
        verify(broken, nonce=lambda nonce: asked.append(nonce) is None)
    assert asked == []


def test_one_flipped_character_anywhere_is_refused() -> None:
    good = make_presentation()
    for place in range(0, len(good), 7):
        other = "A" if good[place] != "A" else "B"
        with pytest.raises(VerificationFailed):
            verify(good[:place] + other + good[place + 1 :])


@pytest.mark.parametrize("now", [NOW - 3600 - 31, NOW + 86_400])
def test_outside_its_term_a_passport_is_refused(now: int) -> None:
    with pytest.raises(VerificationFailed) as failed:
        verify(make_presentation(now=now), now=now)
    assert failed.value.step == "times"


def test_claims_survive_storage() -> None:
    for claims in (CLAIMS, Claims(), Claims(citizenships=(), residencies=("FR", "US"))):
        assert decode_claims(encode_claims(claims)) == claims


def test_what_a_passport_holds_can_be_listed() -> None:
    names = open_passport(make_passport()).names()
    assert {"level", "us_person.ear", "us_person.itar", "compartments.CYB", "caveats.NO_ZDR"} <= set(names)
