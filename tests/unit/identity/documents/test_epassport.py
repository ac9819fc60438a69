"""Passive authentication: every algorithm in use passes, every defect is refused at its own step."""

import pytest
from asn1crypto import cms
from tests.support.chips import (
    HASHES,
    YEAR,
    State,
    certificate,
    data_group_1,
    explicit,
    master_list,
    private_key,
    revocation_list,
    signed_data,
    tlv,
)

from safeconduct.identity.documents.certificates import read_certificate
from safeconduct.identity.documents.csca import CscaStore, read_list
from safeconduct.identity.documents.epassport import SECURITY_OBJECT_OID, authenticate_document
from safeconduct.kernel.errors import InvalidInput, VerificationFailed

NOW = 5 * YEAR


def store_of(*states):
    return CscaStore([read_certificate(each.authority) for each in states])


def authenticate(sod, groups, store, now=NOW):
    return authenticate_document(sod, groups, store, now=now, year=2026)


def refused(sod, groups, store, now=NOW):
    with pytest.raises(VerificationFailed) as caught:
        authenticate(sod, groups, store, now)
    return caught.value


EC_KINDS = [
    "prime192v1",
    "secp224r1",
    "prime256v1",
    "secp384r1",
    "secp521r1",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
]


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("pss", [False, True], ids=["pkcs1", "pss"])
def test_rsa_signatures_verify(hash_name, pss):
    state = State(kind="rsa2048", hash_name=hash_name, pss=pss)
    found = authenticate(*state.issue(), store_of(state))
    assert found.zone.surname == "ERIKSSON"
    assert found.specimen
    assert (found.signed_at, found.revocation) == (2 * YEAR, "unknown")


@pytest.mark.parametrize("spelled_out", [False, True], ids=["named", "explicit"])
@pytest.mark.parametrize("kind", EC_KINDS)
def test_ec_signatures_verify_with_named_and_spelled_out_curves(kind, spelled_out):
    parameters = explicit(kind) if spelled_out else None
    state = State(kind=kind, parameters=parameters, signer_parameters=parameters)
    assert authenticate(*state.issue(), store_of(state)).groups == (1,)


def test_a_compressed_generator_is_the_same_generator():
    parameters = explicit("brainpoolP256r1", compressed=True)
    state = State(kind="brainpoolP256r1", parameters=parameters)
    assert authenticate(*state.issue(), store_of(state))


@pytest.mark.parametrize("change", ["x", "a", "b", "n", "h"])
def test_altered_curve_parameters_are_refused(change):
    parameters = explicit("prime256v1", **{change: 7})
    state = State(signer_parameters=parameters)
    failure = refused(*state.issue(), store_of(state))
    assert failure.step == "certificate"
    assert "altered" in failure.message


def test_an_unknown_curve_is_refused():
    state = State(signer_parameters=explicit("prime256v1", p=2**255 - 19))
    assert "none that travel documents use" in refused(*state.issue(), store_of(state)).message


@pytest.mark.parametrize("kind", ["rsa1024"])
def test_a_short_rsa_key_is_refused(kind):
    state = State(signer_kind=kind, kind="rsa2048")
    assert "1024 bits" in refused(*state.issue(), store_of(state)).message


def test_more_data_groups_are_checked_and_the_wrapping_tag_may_be_missing():
    state = State()
    groups = {1: data_group_1(), 2: b"face", 14: b"keys", 15: b"more"}
    assert authenticate(*state.issue(groups), store_of(state)).groups == (1, 2, 14, 15)
    sod, _ = state.issue(groups, wrap=False)
    assert authenticate(sod, groups, store_of(state))
    assert authenticate(sod + b"\0" * 0, {1: groups[1]}, store_of(state)).groups == (1,)


def test_a_group_hash_other_than_the_signatures_hash():
    state = State(hash_name="sha512")
    assert authenticate(*state.issue(group_hash="sha256"), store_of(state))


@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_data_group_is_refused(number):
    state = State()
    sod, groups = state.issue({1: data_group_1(), 2: b"face"})
    changed = {**groups, number: data_group_1(names="MALLORY<<EVE") if number == 1 else b"other"}
    assert refused(sod, changed, store_of(state)).step == "data_group"


def test_a_data_group_that_was_not_signed_is_refused():
    state = State()
    sod, groups = state.issue()
    assert refused(sod, {**groups, 2: b"face"}, store_of(state)).step == "data_group"


@pytest.mark.parametrize("damage", ["digest", "signature"])
def test_a_bad_message_digest_or_signature_is_refused(damage):
    state = State()
    assert refused(*state.issue(damage=damage), store_of(state)).step == "signature"


def test_an_unknown_signer_is_refused():
    failure = refused(*State().issue(), store_of(State(name="Another", kind="secp384r1")))
    assert failure.step == "certificate"
    assert "master list" in failure.remedy


def test_an_authority_of_the_same_name_with_another_key_vouches_for_nobody():
    assert refused(*State().issue(), store_of(State(kind="secp384r1"))).step == "certificate"


def test_a_signer_that_expired_after_signing_passes():
    state = State(signer_end=3 * YEAR)
    assert authenticate(*state.issue(signing_time=2 * YEAR), store_of(state), now=10 * YEAR)


@pytest.mark.parametrize("signing_time", [0, 16 * YEAR, 6 * YEAR])
def test_a_signature_outside_the_signers_term_or_in_the_future_is_refused(signing_time):
    state = State()
    assert refused(*state.issue(signing_time=signing_time), store_of(state)).step == "times"


def test_without_a_signing_time_the_signer_must_be_valid_now():
    state = State(signer_end=3 * YEAR)
    assert refused(*state.issue(signing_time=None), store_of(state)).step == "times"
    assert authenticate(*state.issue(signing_time=None), store_of(state), now=2 * YEAR).signed_at is None


def test_an_expired_authority_is_refused():
    state = State(end=4 * YEAR)
    assert refused(*state.issue(), store_of(state)).step == "times"


def test_a_signer_that_was_certified_after_its_authority_ended_is_refused():
    state = State(end=YEAR - 1, signer_start=YEAR)
    assert refused(*state.issue(), store_of(state), now=YEAR - 2).step == "times"


def test_a_revoked_signer_is_refused_and_a_current_list_says_good():
    state = State()
    other = store_of(state).with_revocations(revocation_list("Authority", state.key, [5]))
    assert authenticate(*state.issue(), other).revocation == "good"
    stale = store_of(state).with_revocations(revocation_list("Authority", state.key, [5], next_update=YEAR))
    assert authenticate(*state.issue(), stale).revocation == "unknown"
    revoked = store_of(state).with_revocations(revocation_list("Authority", state.key, [5, 77]))
    assert refused(*state.issue(), revoked).step == "revocation"


def test_a_revocation_list_by_another_key_or_older_than_the_one_held_is_refused():
    state = State()
    store = store_of(state)
    with pytest.raises(VerificationFailed) as caught:
        store.with_revocations(revocation_list("Authority", private_key("secp384r1", 9), []))
    assert caught.value.step == "revocation"
    newer = store.with_revocations(revocation_list("Authority", state.key, [77], this_update=YEAR))
    with pytest.raises(VerificationFailed):
        newer.with_revocations(revocation_list("Authority", state.key, [], this_update=0))


def test_a_link_certificate_carries_trust_to_the_new_key():
    old, new = State(), State(kind="secp384r1")
    link = certificate("Authority", new.key, issuer="Authority", issuer_key=old.key, authority=True, serial=3)
    store = store_of(old).linked(read_certificate(link))
    assert authenticate(*new.issue(), store)
    stranger = certificate(
        "Authority", new.key, issuer="Authority", issuer_key=private_key("secp521r1", 8), authority=True
    )
    with pytest.raises(VerificationFailed):
        store_of(old).linked(read_certificate(stranger))


def test_a_signer_is_no_authority():
    state = State()
    below = certificate(
        "Below", private_key("prime256v1", 7), issuer="Signer", issuer_key=state.signer_key, serial=9
    )
    store = CscaStore([read_certificate(state.signer)])
    with pytest.raises(VerificationFailed) as caught:
        store.issuer_of(read_certificate(below))
    assert "may not issue" in caught.value.message


@pytest.mark.parametrize(
    ("facts", "country"), [({"issuer": "FRA"}, "UT"), ({"issuer": "D"}, "FR"), ({"issuer": "FRA"}, "DE")]
)
def test_a_document_of_one_state_signed_by_another_is_refused(facts, country):
    state = State(country=country)
    assert refused(*state.issue({1: data_group_1(**facts)}), store_of(state)).step == "country"


def test_germanys_one_letter_code_is_germanys():
    state = State(country="DE")
    groups = {1: data_group_1(issuer="D", nationality="D")}
    found = authenticate(*state.issue(groups), store_of(state))
    assert found.zone.nationality.country == "DE"
    assert not found.specimen


def test_a_signer_of_one_state_under_an_authority_of_another_is_refused():
    state = State(country="FR", signer_country="DE")
    assert refused(*state.issue({1: data_group_1(issuer="DEU")}), store_of(state)).step == "country"


def test_truncated_and_padded_files():
    state = State()
    sod, groups = state.issue()
    for cut in range(0, len(sod), max(1, len(sod) // 60)):
        assert refused(sod[:cut], groups, store_of(state)).step in ("structure", "signature")
    assert authenticate(sod + b"\0\0\0", groups, store_of(state))
    assert refused(sod + b"x", groups, store_of(state)).step == "structure"


def test_any_flipped_bit_of_the_security_object_is_refused():
    state = State()
    sod, groups = state.issue()
    passed = []
    for place in range(0, len(sod), 7):
        changed = sod[:place] + bytes([sod[place] ^ 1]) + sod[place + 1 :]
        try:
            authenticate(changed, groups, store_of(state))
        except VerificationFailed:
            continue
        passed.append(place)
    # What nobody signs: the list of digest algorithms and the versions outside the signed attributes.
    assert len(passed) <= 4, passed


@pytest.mark.parametrize(
    "sod", [b"", b"\x77", b"\x77\x80", b"\x77\x84\xff\xff\xff\xff", b"PK\x03\x04", b"%PDF-1.7"]
)
def test_what_is_no_security_object_is_refused(sod):
    assert refused(sod, {1: data_group_1()}, CscaStore()).step == "structure"


def test_fifty_megabytes_and_a_missing_group_are_refused_before_anything_is_read():
    state = State()
    sod, groups = state.issue()
    assert refused(b"\x77" + b"\0" * (50 << 20), groups, store_of(state)).step == "structure"
    assert refused(sod, {1: b"\x61" * (50 << 20)}, store_of(state)).step == "structure"
    assert refused(sod, {2: b"face"}, store_of(state)).step == "structure"


def test_a_data_group_1_without_a_zone_is_refused_though_it_is_signed():
    state = State()
    for group in (tlv(0x61, b""), tlv(0x61, tlv(0x5F1F, b"\xff" * 88)), tlv(0x60, b"x")):
        assert refused(*state.issue({1: group}), store_of(state)).step == "structure"


def test_two_signers_are_refused():
    state = State()
    sod, groups = state.issue(wrap=False)
    read = cms.ContentInfo.load(sod)
    infos = read["content"]["signer_infos"]
    infos.append(infos[0].copy())
    assert refused(read.dump(force=True), groups, store_of(state)).step == "structure"


def test_a_signed_object_of_another_kind_is_no_security_object():
    state = State()
    other = master_list([state.authority], state.signer, state.signer_key)
    assert refused(other, {1: data_group_1()}, store_of(state)).step == "structure"


# -- lists of authorities


def test_a_master_list_whose_signer_is_certified_by_a_trusted_authority_brings_others():
    home, abroad = State(), State(country="FR", name="Autorite", kind="brainpoolP384r1")
    data = master_list([home.authority, abroad.authority], home.signer, home.signer_key)
    found = read_list(data, store_of(home), now=NOW)
    assert {each.country for each in found.certificates} == {"UT", "FR"}
    groups = {1: data_group_1(issuer="FRA")}
    assert authenticate(*abroad.issue(groups), store_of(home).with_authorities(found.certificates))


def test_a_forged_or_unknown_master_list_is_refused():
    home, thief = State(), State(name="Thief", kind="secp384r1")
    forged = master_list([thief.authority], thief.signer, thief.signer_key)
    with pytest.raises(VerificationFailed) as caught:
        read_list(forged, store_of(home), now=NOW)
    assert caught.value.step == "certificate"
    damaged = master_list([thief.authority], home.signer, home.signer_key, damage="signature")
    with pytest.raises(VerificationFailed) as caught:
        read_list(damaged, store_of(home), now=NOW)
    assert caught.value.step == "signature"
    with pytest.raises(VerificationFailed):
        read_list(forged, store_of(home), sha256="0" * 64, now=NOW)


def test_a_first_list_needs_its_publishers_digest(tmp_path):
    import hashlib  # noqa: PLC0415

    home = State()
    data = master_list([home.authority], home.signer, home.signer_key)
    with pytest.raises(VerificationFailed):
        read_list(data, CscaStore(), now=NOW)
    digest = hashlib.sha256(data).hexdigest()
    assert read_list(data, CscaStore(), sha256=digest, now=NOW).certificates


def bundle(kind, ders):
    import base64  # noqa: PLC0415

    if kind == "der":
        return b"".join(ders)
    if kind == "pem":
        return b"".join(
            b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
            for der in ders
        )
    return b"".join(
        b"dn: c=UT,o=%d\ncACertificate;binary:: " % number + base64.b64encode(der) + b"\n\n"
        for number, der in enumerate(ders)
    )


@pytest.mark.parametrize("kind", ["der", "pem", "ldif"])
def test_bare_bundles_are_taken_on_the_operators_word_only(kind):
    import hashlib  # noqa: PLC0415

    ders = [State().authority, State(country="FR", name="Autorite").authority]
    data = bundle(kind, ders)
    with pytest.raises(VerificationFailed) as caught:
        read_list(data, CscaStore(), now=NOW)
    assert "SHA-256" in caught.value.remedy
    found = read_list(data, CscaStore(), sha256=hashlib.sha256(data).hexdigest(), now=NOW)
    assert len(found.certificates) == 2


def test_what_cannot_be_used_in_a_list_is_named_and_the_rest_is_taken():
    import hashlib  # noqa: PLC0415

    good = State()
    bad = State(kind="prime256v1", name="Altered", parameters=explicit("prime256v1", x=7))
    data = bundle("pem", [good.authority, bad.authority])
    found = read_list(data, CscaStore(), sha256=hashlib.sha256(data).hexdigest(), now=NOW)
    assert len(found.certificates) == 1
    assert "altered" in found.skipped[0]


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x30\x82\xff\xff", b"dn: c=UT\n", b"-----BEGIN X-----"])
def test_what_is_no_list_is_refused(data):
    import hashlib  # noqa: PLC0415

    with pytest.raises((VerificationFailed, InvalidInput)):
        read_list(data, CscaStore(), sha256=hashlib.sha256(data).hexdigest(), now=NOW)


def test_the_operators_word_does_not_replace_a_signature():
    import hashlib  # noqa: PLC0415

    home = State()
    damaged = master_list([home.authority], home.signer, home.signer_key, damage="digest")
    with pytest.raises(VerificationFailed):
        read_list(damaged, CscaStore(), sha256=hashlib.sha256(damaged).hexdigest(), now=NOW)


def test_content_without_signed_attributes_is_refused():
    state = State()
    sod = signed_data(b"x", SECURITY_OBJECT_OID, state.signer, state.signer_key)
    read = cms.ContentInfo.load(sod)
    del read["content"]["signer_infos"][0]["signed_attrs"]
    assert refused(read.dump(force=True), {1: data_group_1()}, store_of(state)).step == "structure"
