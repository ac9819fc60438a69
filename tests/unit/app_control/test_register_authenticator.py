"""Passkeys of a real instance: challenges that serve once and for one person, one owner per key, copies that are noticed."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.instances import make_instance, operator
from tests.support.passkeys import Maker, SecurityKey

from safeconduct.app.authenticate_passkey import authenticate_passkey, begin_authentication
from safeconduct.app.import_evidence import alerts
from safeconduct.app.issue_passport import issue_passport
from safeconduct.app.nonces import Nonces
from safeconduct.app.register_authenticator import (
    CEREMONY_SECONDS,
    MAX_CREDENTIALS,
    AuthenticatorDesk,
    begin_registration,
    register_authenticator,
    relying_party_of,
    report_lost,
)
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound, UnsafeConfiguration, VerificationFailed
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import PassportStatus, SubjectKind
from safeconduct.passport.claims import Claims
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.sdk.development_authenticator import DevelopmentAuthenticator

ALICE, BOB = SubjectId("sub_alicemadeup"), SubjectId("sub_bobmadeup")


@pytest.fixture(scope="module")
def maker():
    return Maker()


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


@pytest.fixture
def desk(embedded, maker):
    return AuthenticatorDesk(embedded.instance, relying_party_of(embedded.instance.issuer), maker.roots())


def enrol(desk, subject, key, **given):
    return register_authenticator(desk, subject, key.create(begin_registration(desk, subject)), **given)


def refused(step, call, *given):
    with pytest.raises(VerificationFailed) as failure:
        call(*given)
    assert failure.value.step == step, failure.value


def test_a_registered_passkey_signs_in_at_the_computed_aal_and_survives_a_restart(embedded, desk, maker):
    key = SecurityKey(maker.batch())
    shown = enrol(desk, ALICE, key)
    assert (shown.aal, shown.hardware_bound, shown.attested_by) == (3, True, maker.name)
    embedded.reopen()
    again = AuthenticatorDesk(embedded.instance, relying_party_of(embedded.instance.issuer), maker.roots())
    done = authenticate_passkey(again, ALICE, key.get(begin_authentication(again, ALICE)))
    assert (done.aal, done.credential, done.key) == (3, key.id, shown.key)
    assert again.registered(ALICE)[0].credential.sign_count == 1
    assert again.authenticators(ALICE)[0].hardware_bound


def test_a_registration_replayed_is_refused(desk):
    options = begin_registration(desk, ALICE)
    register_authenticator(desk, ALICE, SecurityKey().create(options))
    refused("challenge", register_authenticator, desk, ALICE, SecurityKey().create(options))


def test_an_assertion_replayed_is_refused(desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    response = key.get(begin_authentication(desk, ALICE))
    authenticate_passkey(desk, ALICE, response)
    refused("challenge", authenticate_passkey, desk, ALICE, response)
    assert alerts(desk.instance) == []


def test_a_challenge_serves_one_ceremony_of_one_subject(desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    enrol(desk, BOB, SecurityKey())
    for_bob = begin_authentication(desk, BOB)["challenge"]
    response = key.get({**begin_authentication(desk, ALICE), "challenge": for_bob})
    refused("challenge", authenticate_passkey, desk, ALICE, response)
    for_creating = begin_registration(desk, ALICE)["challenge"]
    response = key.get({**begin_authentication(desk, ALICE), "challenge": for_creating})
    refused("challenge", authenticate_passkey, desk, ALICE, response)


def test_a_nonce_for_presentations_is_no_challenge(embedded, desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    nonce, _ = Nonces(embedded.clock, embedded.instance.random).give()
    response = key.get({**begin_authentication(desk, ALICE), "challenge": nonce})
    refused("challenge", authenticate_passkey, desk, ALICE, response)


def test_a_challenge_ends_after_five_minutes(embedded, desk):
    assert isinstance(embedded.clock, SimulatedClock)
    options = begin_registration(desk, ALICE)
    embedded.clock.move_to(embedded.now + CEREMONY_SECONDS)
    refused("challenge", register_authenticator, desk, ALICE, SecurityKey().create(options))


def test_a_failed_try_does_not_use_the_challenge_up(desk):
    options = begin_registration(desk, ALICE)
    liar = SecurityKey()
    liar.rp_id = "evil.example"
    refused("rp_id", register_authenticator, desk, ALICE, liar.create(options))
    assert register_authenticator(desk, ALICE, SecurityKey().create(options)).aal == 2


def test_another_persons_credential_neither_signs_in_nor_registers(desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    enrol(desk, BOB, SecurityKey())
    key.handle = None
    refused("credential", authenticate_passkey, desk, BOB, key.get(begin_authentication(desk, BOB)))
    with pytest.raises(Conflict, match="already"):
        enrol(desk, BOB, key)
    same_key = SecurityKey()
    same_key.key = key.key
    with pytest.raises(Conflict, match="another"):
        enrol(desk, BOB, same_key)


def test_a_copied_key_is_noticed_refused_and_an_alert(desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    authenticate_passkey(desk, ALICE, key.get(begin_authentication(desk, ALICE)))
    key.count = 0
    refused("counter", authenticate_passkey, desk, ALICE, key.get(begin_authentication(desk, ALICE)))
    (alert,) = alerts(desk.instance)
    assert alert.subject == ALICE
    assert "copied" in alert.text
    # The owner's own device, whose counter is ahead, still works.
    key.count = 5
    assert authenticate_passkey(desk, ALICE, key.get(begin_authentication(desk, ALICE))).aal == 2


def test_a_lost_authenticator_signs_in_no_more_and_its_passport_is_suspended(embedded, desk):
    signer = FileSigner.generate()
    software = DevelopmentAuthenticator(signer, origin=desk.relying_party.origins[0])
    shown = enrol(desk, ALICE, software)
    assert shown.development
    assert shown.kind == "file_key_development"
    embedded.instance.record.commit([SubjectEnrolled(subject=ALICE, kind=SubjectKind.HUMAN)])
    issued = [
        issue_passport(
            embedded.instance,
            operator(),
            subject=ALICE,
            claims=Claims(ial=2),
            holder_jwk=each.public_jwk(),
            aal=2,
            valid_until=embedded.now + 86_400,
        ).passport
        for each in (signer, FileSigner.generate())
    ]
    assert report_lost(desk, ALICE, software.credential, by="op-1").ended == embedded.now
    statuses = [embedded.state.passports[name].status for name in issued]
    assert statuses == [PassportStatus.SUSPENDED, PassportStatus.VALID]
    with pytest.raises(NotFound):
        begin_authentication(desk, ALICE)
    assert desk.authenticators(ALICE) == ()
    position = embedded.state.position
    report_lost(desk, ALICE, software.credential, by="op-1")
    assert embedded.state.position == position
    with pytest.raises(NotFound):
        report_lost(desk, BOB, software.credential, by="op-1")
    with pytest.raises(Conflict):
        enrol(desk, ALICE, DevelopmentAuthenticator(signer, origin=desk.relying_party.origins[0]))


def test_a_weaker_session_does_not_add_a_stronger_authenticator(desk, maker):
    with pytest.raises(Forbidden, match="AAL3"):
        enrol(desk, ALICE, SecurityKey(maker.batch()), highest_aal=2)
    assert enrol(desk, ALICE, SecurityKey(), highest_aal=2).aal == 2


def test_nobody_fills_the_vault_with_credentials(desk):
    for _ in range(MAX_CREDENTIALS):
        enrol(desk, ALICE, SecurityKey())
    with pytest.raises(Conflict, match="authenticators"):
        begin_registration(desk, ALICE)


def test_production_refuses_the_software_authenticator(desk):
    instance = msgspec.structs.replace(desk.instance, profile="production")
    production = AuthenticatorDesk(instance, desk.relying_party)
    software = DevelopmentAuthenticator(FileSigner.generate(), origin=desk.relying_party.origins[0])
    with pytest.raises(UnsafeConfiguration, match="key file"):
        enrol(production, ALICE, software)
    assert production.registered(ALICE) == []


def test_what_is_asked_names_the_subject_by_pseudonym_only_and_excludes_what_is_registered(desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    options = begin_registration(desk, ALICE)
    assert options["user"]["name"] == options["user"]["displayName"] == ALICE
    assert options["excludeCredentials"] == [{"type": "public-key", "id": key.id}]
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["rp"]["id"] == "127.0.0.1"


def test_an_erased_subjects_passkeys_are_gone(embedded, desk):
    key = SecurityKey()
    enrol(desk, ALICE, key)
    embedded.instance.vault.forget(ALICE)
    assert desk.registered(ALICE) == []
