"""Rotation of the instance's own keys: what is outstanding verifies, what is retired does not, and a crash leaves one key."""

import shutil

import pytest
from tests.support.api_nodes import ApiBench, Person
from tests.support.instances import EmbeddedInstance, make_instance, operator, provider

from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.rotate_key import RotateKey
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.bootstrap import key_rotation
from safeconduct.kernel.errors import Conflict, Forbidden, LogUnavailable, NotFound, UnsafeConfiguration
from safeconduct.kernel.jose import parse_jws
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.claims import Claims
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory

LATER = 400 * 86_400


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


def rotate(embedded, name, **ask):
    return key_rotation(embedded.opened).rotate(operator(), name, RotateKey(**ask))


def ring(embedded, name):
    instance = embedded.instance
    return InstanceKeyRing(name, instance.record, instance.keys, instance.clock)


def refused(call):
    with pytest.raises(Exception) as caught:
        call()
    return str(caught.value)


def test_an_outstanding_passport_verifies_until_the_last_one_of_its_key_expired(bench):
    old = bench.instance.keys.signer("issuer").kid
    event = rotate(bench.embedded, "issuer")
    bench.node.desk.check(bench.holder.present(), now=bench.now)
    assert event.previous_until >= bench.record.state.passports[bench.holder.passport].issued.valid_until
    assert ring(bench.embedded, "issuer")(old) is not None
    bench.clock.move_to(event.previous_until)
    assert ring(bench.embedded, "issuer")(old) is None


def test_a_new_passport_is_signed_with_the_new_key_and_verifies_after_a_restart(bench):
    event = rotate(bench.embedded, "issuer")
    person = Person(bench, "sub-later", Claims(ial=2, citizenships=("FR",)))
    assert event.jwk["kid"] == bench.instance.keys.signer("issuer").kid
    bench.node.desk.check(person.present(), now=bench.now)
    bench.embedded.reopen()
    assert bench.embedded.instance.keys.signer("issuer").kid == event.jwk["kid"]
    assert ring(bench.embedded, "issuer")(event.previous["kid"]) is not None


def test_a_compromised_issuer_key_verifies_nothing_from_that_moment_on(bench):
    presented = bench.holder.present()
    rotate(bench.embedded, "issuer", compromised=True)
    assert "is not the issuer's" in refused(lambda: bench.node.desk.check(presented, now=bench.now))


@pytest.mark.parametrize(("name", "seconds"), [("token", 360), ("status", 3660)])
def test_a_replaced_key_verifies_as_long_as_what_it_signed_can_live_and_no_longer(embedded, name, seconds):
    old = embedded.instance.keys.signer(name).kid
    event = rotate(embedded, name)
    assert event.previous_until == embedded.now + seconds
    assert ring(embedded, name)(old) is not None
    embedded.clock.move_to(event.previous_until)
    assert ring(embedded, name)(old) is None
    assert ring(embedded, name)(event.jwk["kid"]) is not None


def test_a_key_verifies_for_its_own_purpose_only(embedded):
    event = rotate(embedded, "token")
    for name in ("issuer", "status"):
        assert ring(embedded, name)(event.jwk["kid"]) is None
        assert ring(embedded, name)(event.previous["kid"]) is None


def test_the_key_set_publishes_old_and_new_and_drops_the_retired(bench):
    old = {name: bench.instance.keys.signer(name).kid for name in ("issuer", "status", "token")}
    for name in old:
        rotate(bench.embedded, name)
    with bench.client() as client:
        kids = [key["kid"] for key in client.get("/.well-known/jwks.json").json()["keys"]]
        assert len(kids) == len(set(kids)) == 6
        assert set(old.values()) < set(kids)
        bench.clock.move_to(bench.now + LATER)
        kids = {key["kid"] for key in client.get("/.well-known/jwks.json").json()["keys"]}
        assert kids == {bench.instance.keys.signer(name).kid for name in old}


def test_status_lists_are_signed_anew_at_once_and_the_old_one_still_verifies(bench):
    before = parse_jws(bench.node.status_lists.publish(0)).header["kid"]
    event = rotate(bench.embedded, "status")
    after = parse_jws(bench.node.status_lists.publish(0)).header["kid"]
    assert (before, after) == (event.previous["kid"], event.jwk["kid"])
    assert ring(bench.embedded, "status")(before) is not None


@pytest.mark.parametrize("name", ["record-log", "decision-log"])
def test_a_logs_key_changes_while_it_writes_and_both_keys_lead_to_the_whole_log(embedded, name):
    old = embedded.instance.keys.signer(name)
    event = rotate(embedded, name)
    embedded.opened.record_log.checkpoint(force=True)
    embedded.reopen()
    new = embedded.instance.keys.signer(name)
    assert new.kid == event.jwk["kid"] != old.kid
    embedded.close()
    log = "record" if name == "record-log" else "decisions"
    directory = FileLogDirectory(embedded.settings.data / log / "log")
    origin = (
        embedded.opened.descriptor.record_origin
        if log == "record"
        else embedded.opened.descriptor.decision_origin
    )
    for key in (old, new):
        report = check(directory, LogVerifier.of(origin, key))
        assert report.ok, report.problems
    embedded.opened = EmbeddedInstance(embedded.settings, embedded.clock).opened


def test_the_root_key_changes_and_every_data_key_with_it(embedded):
    vault = embedded.instance.vault
    for number in range(3):
        vault.put("note", f"n{number}", f"sub-{number}", b"kept")
    vault.forget("sub-1")
    before = (embedded.settings.keys / "root.key").read_bytes()
    rotate(embedded, "root")
    after = (embedded.settings.keys / "root.key").read_bytes()
    assert before != after
    vault.put("note", "n3", "sub-3", b"later")
    embedded.reopen()
    vault = embedded.instance.vault
    assert [vault.get("note", f"n{number}") for number in range(4)] == [b"kept", None, b"kept", b"later"]
    # The old root key opens nothing any more.
    embedded.close()
    (embedded.settings.keys / "root.key").write_bytes(before)
    embedded.opened = EmbeddedInstance(embedded.settings, embedded.clock).opened
    with pytest.raises(UnsafeConfiguration, match="does not unwrap"):
        embedded.instance.vault.get("note", "n0")


def test_a_crash_in_the_middle_of_a_root_rotation_is_finished_at_the_next_start(embedded):
    vault = embedded.instance.vault
    for number in range(4):
        vault.put("note", f"n{number}", f"sub-{number}", b"kept")
    keys, subject_keys = embedded.opened.keys, embedded.opened.subject_keys
    before = (embedded.settings.keys / "root.key").read_bytes()
    new = keys.prepare_root()
    # Half of the data keys are under the new root key when the process dies.
    subject_keys._older, subject_keys._wrapper = subject_keys._wrapper, new
    vault.put("note", "n4", "sub-4", b"kept")
    embedded.reopen()
    assert not (embedded.settings.keys / "root.next.key").exists()
    assert (embedded.settings.keys / "root.key").read_bytes() != before
    assert [embedded.instance.vault.get("note", f"n{number}") for number in range(5)] == [b"kept"] * 5


def test_an_erasure_during_a_root_rotation_stays_an_erasure(embedded):
    vault, subject_keys = embedded.instance.vault, embedded.opened.subject_keys
    vault.put("note", "n", "sub-1", b"secret")
    wrap = embedded.opened.keys.prepare_root()

    class ErasesMeanwhile:
        def wrap(self, secret, context):
            vault.forget("sub-1")
            return wrap.wrap(secret, context)

        def unwrap(self, wrapped, context):
            return wrap.unwrap(wrapped, context)

    subject_keys.change_root(ErasesMeanwhile())
    assert vault.get("note", "n") is None
    assert subject_keys._load.__self__ is subject_keys
    with pytest.raises(NotFound, match="erased"):
        subject_keys._load("sub-1")


@pytest.mark.parametrize("name", ["issuer", "status", "token", "record-log", "decision-log"])
def test_a_key_prepared_before_a_crash_and_never_recorded_is_dropped(embedded, name):
    old = embedded.instance.keys.signer(name).kid
    embedded.opened.keys.prepare(name)
    embedded.reopen()
    assert embedded.instance.keys.signer(name).kid == old
    assert not list(embedded.settings.keys.glob("*.next.*"))


@pytest.mark.parametrize("name", ["issuer", "status", "token", "record-log", "decision-log"])
def test_a_crash_after_the_record_and_before_the_file_is_finished_at_the_next_start(embedded, name):
    keys = embedded.opened.keys
    keys.activate = lambda _name: None
    event = rotate(embedded, name)
    embedded.reopen()
    assert embedded.instance.keys.signer(name).kid == event.jwk["kid"]
    assert not list(embedded.settings.keys.glob("*.next.*"))


def test_a_logs_key_whose_record_entry_a_crash_swallowed_is_in_force_all_the_same(embedded):
    new = embedded.opened.keys.prepare("record-log")
    embedded.opened.record_log.change_key(new)
    embedded.reopen()
    assert embedded.instance.keys.signer("record-log").kid == new.kid


def test_when_the_record_cannot_be_written_the_old_key_goes_on(embedded):
    old = embedded.instance.keys.signer("token").kid
    rotation = key_rotation(embedded.opened)

    def fails(*_args, **_more):
        raise LogUnavailable("the disk is full")

    keeper = embedded.instance.record
    commit, keeper.commit = keeper.commit, fails
    with pytest.raises(LogUnavailable):
        rotation.rotate(operator(), "token", RotateKey())
    keeper.commit = commit
    assert embedded.instance.keys.signer("token").kid == old
    assert rotate(embedded, "token").previous["kid"] == old


def test_a_logs_key_that_changed_stays_when_the_record_does_not_take_the_entry(embedded):
    rotation, keeper = key_rotation(embedded.opened), embedded.instance.record
    commit = keeper.commit

    def fails(*_args, **_more):
        raise LogUnavailable("the disk is full")

    for name in ("decision-log", "record-log"):
        keeper.commit = fails
        with pytest.raises(LogUnavailable):
            rotation.rotate(operator(), name, RotateKey())
        keeper.commit = commit
        now = embedded.instance.keys.signer(name).kid
        assert rotation.rotate(operator(), name, RotateKey()).previous["kid"] == now
    embedded.reopen()
    assert not list(embedded.settings.keys.glob("*.next.*"))


def test_a_key_that_served_before_is_refused(embedded):
    old = (embedded.settings.keys / "token.pem").read_bytes()
    rotate(embedded, "token")
    shutil.copy(embedded.settings.keys / "token.pem", embedded.settings.keys / "token.next.pem")
    with pytest.raises(Conflict, match="served before"):
        rotate(embedded, "token")
    (embedded.settings.keys / "token.next.pem").write_bytes(old)
    (embedded.settings.keys / "token.next.pem").chmod(0o600)
    with pytest.raises(Conflict, match="served before"):
        rotate(embedded, "token")


def test_a_role_key_cannot_become_the_issuers(embedded):
    shutil.copy(embedded.settings.keys / "roles" / "operator.pem", embedded.settings.keys / "issuer.next.pem")
    with pytest.raises(Conflict, match="served before"):
        rotate(embedded, "issuer")


def test_a_key_of_another_algorithm_is_refused(embedded):
    (embedded.settings.keys / "token.next.pem").write_bytes(FileSigner.generate("EdDSA").to_pem())
    (embedded.settings.keys / "token.next.pem").chmod(0o600)
    with pytest.raises(Conflict, match="signs with EdDSA"):
        rotate(embedded, "token")


def test_only_an_operator_rotates_and_only_keys_there_are(embedded):
    with pytest.raises(Forbidden):
        key_rotation(embedded.opened).rotate(provider("lab"), "token", RotateKey())
    with pytest.raises(NotFound, match="did you mean 'token'"):
        rotate(embedded, "tokn")


def test_the_replaced_private_key_is_gone_from_the_directory(embedded):
    old = (embedded.settings.keys / "token.pem").read_bytes()
    rotate(embedded, "token")
    assert all(old not in path.read_bytes() for path in embedded.settings.keys.rglob("*") if path.is_file())


def test_another_process_that_holds_the_directory_open_signs_with_the_new_key_too(embedded):
    other = KeyDirectory(embedded.settings.keys)
    before = other.signer("token").kid
    event = rotate(embedded, "token")
    assert other.signer("token").kid == event.jwk["kid"]
    assert other.leaving("token").kid == before
