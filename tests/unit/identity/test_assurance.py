import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.identity.assurance import ACCEPTED_METHODS, identity_assurance
from safeconduct.identity.authenticator import Authenticator, AuthenticatorKind, Enrolment, bound_key
from safeconduct.identity.eligibility import Asked, OrganisationFacts, Shown, eligible
from safeconduct.identity.evidence import (
    AttributeSource,
    Evidence,
    Outcome,
    Proofing,
    ProofingType,
    Strength,
    Validation,
    ValidationMethod,
    Verification,
    VerificationMethod,
)
from safeconduct.identity.evidence_import import normal_number
from safeconduct.identity.nationality import Citizenship, held_at
from safeconduct.identity.organisation import check_lei
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level

NOW = 1_000_000


def piece(name, strength, *, expires=NOW + 1000):
    return Evidence(id=name, kind="document", strength=strength, issuer="FR", number=name, expires=expires)


def valid(name, method=ValidationMethod.AUTOMATED_SCAN, *, source="authoritative", outcome=Outcome.PASS):
    return Validation(
        evidence=name, method=method, outcome=outcome, at=NOW, attributes=AttributeSource(source)
    )


def owned(name, method=VerificationMethod.FACIAL_VISUAL, outcome=Outcome.PASS):
    return Verification(evidence=name, method=method, outcome=outcome, at=NOW)


def assess(evidence, validations, verifications, *, proofing=None, authenticators=(), now=NOW):
    return identity_assurance(
        tuple(evidence), tuple(validations), tuple(verifications), proofing, tuple(authenticators), now=now
    )


FAIR, STRONG, SUPERIOR = piece("f", Strength.FAIR), piece("s", Strength.STRONG), piece("x", Strength.SUPERIOR)
CRYPTO = valid("x", ValidationMethod.CRYPTOGRAPHIC, source="signed")

# (what is brought, IAL, clause)
TABLE = {
    "nothing": ([], [], [], 0),
    "one FAIR (4.1.2)": ([FAIR], [valid("f")], [owned("f")], 1),
    "one STRONG alone is not IAL2 (4.2.2)": ([STRONG], [valid("s")], [owned("s")], 1),
    "two FAIR are not IAL2 (4.2.2)": (
        [FAIR, piece("g", Strength.FAIR)],
        [valid("f"), valid("g")],
        [owned("f"), owned("g")],
        1,
    ),
    "FAIR and STRONG (4.2.2)": ([FAIR, STRONG], [valid("f"), valid("s")], [owned("f"), owned("s")], 2),
    "two STRONG (4.2.2)": (
        [STRONG, piece("t", Strength.STRONG)],
        [valid("s"), valid("t")],
        [owned("s"), owned("t")],
        2,
    ),
    "one SUPERIOR (4.2.2)": ([SUPERIOR], [CRYPTO], [owned("x")], 2),
    "SUPERIOR not validated cryptographically counts as STRONG (4.2.4)": (
        [SUPERIOR],
        [valid("x")],
        [owned("x")],
        1,
    ),
    "only one of two owned (4.2.6)": ([FAIR, STRONG], [valid("f"), valid("s")], [owned("s")], 1),
    "a code to a phone does not show ownership of STRONG (4.2.6)": (
        [FAIR, STRONG],
        [valid("f"), valid("s")],
        [owned("f"), owned("s", VerificationMethod.CODE_DIGITAL)],
        1,
    ),
    "AAL2 federation does not show ownership of SUPERIOR (4.2.6.2)": (
        [SUPERIOR],
        [CRYPTO],
        [owned("x", VerificationMethod.FEDERATION_AAL2)],
        1,
    ),
    "AAL3 federation does (4.2.6.2)": (
        [SUPERIOR],
        [CRYPTO],
        [owned("x", VerificationMethod.FEDERATION_AAL3)],
        2,
    ),
    "not validated (4.1.4)": ([FAIR], [], [owned("f")], 0),
    "failed validation": ([FAIR], [valid("f", outcome=Outcome.FAIL)], [owned("f")], 0),
    "one passed and one failed validation": (
        [FAIR],
        [valid("f"), valid("f", ValidationMethod.VISUAL_INSPECTION, outcome=Outcome.FAIL)],
        [owned("f")],
        0,
    ),
    "attributes not confirmed (4.1.5)": ([FAIR], [valid("f", source="none")], [owned("f")], 0),
    "a signature confirms attributes on SUPERIOR only (4.2.5)": (
        [FAIR],
        [valid("f", source="signed")],
        [owned("f")],
        0,
    ),
    "not owned (4.1.6)": ([FAIR], [valid("f")], [], 0),
    "ownership shown and then refuted by the same method": (
        [FAIR],
        [valid("f")],
        [owned("f"), owned("f", outcome=Outcome.FAIL)],
        0,
    ),
    "expired": ([piece("f", Strength.FAIR, expires=NOW)], [valid("f")], [owned("f")], 0),
    "another piece's validation": ([FAIR], [valid("s")], [owned("f")], 0),
}


@pytest.mark.parametrize("case", TABLE)
def test_ial_follows_sp_800_63a_4(case):
    evidence, validations, verifications, ial = TABLE[case]
    assert assess(evidence, validations, verifications).ial == ial


ONSITE = Proofing(type=ProofingType.ONSITE_ATTENDED, at=NOW, biometric_sample=True)
ENROLLED = Authenticator(
    kind=AuthenticatorKind.MULTI_FACTOR_CRYPTOGRAPHIC,
    phishing_resistant=True,
    hardware_bound=True,
    enrolled=Enrolment.ONSITE,
)
IAL3 = {"proofing": ONSITE, "authenticators": [ENROLLED]}


def test_ial3_needs_all_of_its_sentences():
    brought = ([SUPERIOR], [CRYPTO], [owned("x", VerificationMethod.BIOMETRIC)])
    assert assess(*brought, **IAL3).ial == 3
    for lacking in (
        {**IAL3, "proofing": Proofing(type=ProofingType.REMOTE_ATTENDED, at=NOW, biometric_sample=True)},
        {**IAL3, "proofing": Proofing(type=ProofingType.ONSITE_ATTENDED, at=NOW)},
        {**IAL3, "authenticators": []},
    ):
        result = assess(*brought, **lacking)
        assert result.ial == 2
        missed = [one for one in result.requirements if one.subject == "IAL3" and not one.met]
        assert len(missed) == 1
        assert missed[0].clause.startswith("SP 800-63A-4 4.3")
    assert assess(*brought, **{**IAL3, "proofing": None}).ial == 2


def test_ial3_by_a_device_portrait_does_not_need_a_method_of_ial2():
    brought = ([SUPERIOR], [CRYPTO], [owned("x", VerificationMethod.DEVICE_PORTRAIT)])
    assert assess(*brought).ial == 0
    assert assess(*brought, **IAL3).ial == 3


def test_the_strongest_piece_must_be_owned_at_ial3():
    evidence, validations = [FAIR, STRONG], [valid("f"), valid("s")]
    assert assess(evidence, validations, [owned("s")], **IAL3).ial == 3
    assert assess(evidence, validations, [owned("f")], **IAL3).ial == 1


def test_expiry_is_the_earliest_of_the_evidence_relied_on_and_the_best_set_is_relied_on():
    soon, late = piece("a", Strength.STRONG, expires=NOW + 5), piece("b", Strength.STRONG, expires=NOW + 50)
    fair = piece("f", Strength.FAIR, expires=NOW + 90)
    checks = [valid("a"), valid("b"), valid("f")]
    shown = [owned("a"), owned("b"), owned("f")]
    assert assess([soon, late, fair], checks, shown).expires == NOW + 50
    assert assess([soon, fair], checks, shown).expires == NOW + 5
    assert assess([piece("f", Strength.FAIR, expires=None)], checks, shown).expires is None


@given(st.sets(st.sampled_from(["f", "s", "x"])), st.sampled_from(list(VerificationMethod)))
def test_taking_evidence_away_never_raises_the_ial(taken, method):
    everything = [FAIR, STRONG, SUPERIOR]
    checks, shown = [valid("f"), valid("s"), CRYPTO], [owned(name, method) for name in "fsx"]
    full = assess(everything, checks, shown, **IAL3).ial
    fewer = assess([e for e in everything if e.id not in taken], checks, shown, **IAL3).ial
    assert fewer <= full


def test_every_method_and_strength_stands_in_the_table():
    for ial, strength in itertools.product((1, 2, 3), Strength):
        assert ACCEPTED_METHODS[ial][strength] <= set(VerificationMethod)
    assert VerificationMethod.CODE_DIGITAL not in ACCEPTED_METHODS[2][Strength.STRONG]
    assert not ACCEPTED_METHODS[3][Strength.FAIR] & {
        VerificationMethod.CODE_DIGITAL,
        VerificationMethod.CODE_POSTAL,
    }


def authenticator(key, **changed):
    return Authenticator(
        **{
            "kind": AuthenticatorKind.MULTI_FACTOR_CRYPTOGRAPHIC,
            "phishing_resistant": True,
            "hardware_bound": True,
            "public_jwk": key.public_jwk(),
            **changed,
        }
    )


@pytest.mark.parametrize(
    ("changed", "aal"),
    [
        ({}, 3),
        ({"hardware_bound": False}, 2),
        ({"phishing_resistant": False}, 2),
        ({"hardware_bound": False, "phishing_resistant": False}, 2),
        ({"kind": AuthenticatorKind.SINGLE_FACTOR_CRYPTOGRAPHIC}, 1),
    ],
)
def test_aal_follows_sp_800_63b_4(changed, aal):
    key = FileSigner.generate()
    found = bound_key(authenticator(key, **changed), profile="production", field="a")
    assert (found.aal, found.thumbprint, found.development) == (aal, key.verifying_key().thumbprint, False)
    assert "SP 800-63B-4" in found.clause


def test_a_key_file_counts_as_hardware_in_a_development_profile_only():
    record = authenticator(FileSigner.generate(), kind=AuthenticatorKind.FILE_KEY_DEVELOPMENT)
    found = bound_key(record, profile="development", field="a")
    assert (found.aal, found.development) == (3, True)
    for profile in ("production", "", "Development", "staging"):
        with pytest.raises(UnsafeConfiguration) as caught:
            bound_key(record, profile=profile, field="person.authenticators[0]")
        assert caught.value.field == "person.authenticators[0].kind"


@pytest.mark.parametrize(
    "kind",
    [
        AuthenticatorKind.PASSWORD,
        AuthenticatorKind.MULTI_FACTOR_OTP,
        AuthenticatorKind.OUT_OF_BAND,
        AuthenticatorKind.LOOKUP_SECRET,
    ],
)
def test_what_cannot_sign_holds_no_passport(kind):
    record = Authenticator(kind=kind, phishing_resistant=True, hardware_bound=True)
    assert bound_key(record, profile="production", field="a") is None
    with pytest.raises(InvalidInput):
        bound_key(authenticator(FileSigner.generate(), kind=kind), profile="production", field="a")


def test_a_passports_key_is_a_public_p256_key_under_its_own_thumbprint():
    key = FileSigner.generate(kid="somebody-elses-kid")
    found = bound_key(authenticator(key), profile="production", field="a")
    assert found.public_jwk["kid"] == found.thumbprint
    for jwk in (
        FileSigner.generate(EDDSA).public_jwk(),
        {**key.public_jwk(), "d": "AAAA"},
        {"kty": "oct", "k": "AAAA"},
        {**key.public_jwk(), "x": key.public_jwk()["y"]},
        {},
    ):
        with pytest.raises(InvalidInput) as caught:
            bound_key(authenticator(key, public_jwk=jwk), profile="production", field="a")
        assert caught.value.field.startswith("a.public_jwk")


COMPLETE = {
    "ial": 3,
    "aal": 3,
    "age_checked": True,
    "clear": True,
    "affiliation": Affiliation.REGISTRY,
    "organisation": OrganisationFacts(verified=True, clear=True, suspended=False),
    "projects": (),
    "terms_signed": True,
    "adjudicators": ("a", "b"),
    "requester": "r",
    "applicant": frozenset({"p"}),
}


@given(
    st.fixed_dictionaries(
        {
            "ial": st.integers(0, 3),
            "aal": st.integers(0, 3),
            "age_checked": st.booleans(),
            "clear": st.booleans(),
            "affiliation": st.sampled_from(list(Affiliation)),
            "terms_signed": st.booleans(),
            "organisation": st.one_of(
                st.none(), st.builds(OrganisationFacts, st.booleans(), st.booleans(), st.booleans())
            ),
        }
    ),
    st.sampled_from(list(Level)),
)
def test_the_level_is_the_table_and_never_above_what_was_asked(facts, asked):
    found = eligible(Shown(**{**COMPLETE, **facts}), Asked(asked, tuple(Compartment))).level
    assert found <= asked
    assert found < Level.C4
    organisation = facts["organisation"]
    if found >= Level.C1:
        assert facts["ial"] >= 1
        assert facts["aal"] >= 2
        assert facts["age_checked"]
        assert facts["terms_signed"]
    if found >= Level.C2:
        assert facts["ial"] >= 2
        assert facts["clear"]
        assert organisation.verified
        assert organisation.clear
        assert not organisation.suspended
        assert facts["affiliation"] is not Affiliation.SELF
    assert found < Level.C3  # no project


def test_an_lei_has_right_check_digits():
    assert check_lei("5493001KJTIIGC8Y1R12", "lei")
    for wrong in (
        "5493001KJTIIGC8Y1R13",
        "5493001KJTIIGC8Y1R1",
        "5493001kjtiigc8y1r12",
        "",
        "5493001KJTIIGC8Y1RAB",
    ):
        with pytest.raises(InvalidInput):
            check_lei(wrong, "lei")


def test_spacing_does_not_hide_that_a_document_is_the_same():
    assert normal_number(" ab-12 34 ") == normal_number("AB1234")


def test_countries_held_are_those_whose_interval_contains_the_moment():
    held = (
        Citizenship("FR", from_=None, to=100),
        Citizenship("DE", from_=100, to=None),
        Citizenship("DE"),
        Citizenship("IT", from_=0, to=50),
    )
    assert held_at(held, 99) == ("DE", "FR")
    assert held_at(held, 100) == ("DE",)
