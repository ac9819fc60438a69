"""Liveness results: accepted from the right vendor, once, in time, for the right case; everything else changes nothing."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest
from tests.support.instances import make_instance

from safeconduct.app.check_liveness import (
    MAX_ATTEMPTS,
    SESSION_SECONDS,
    LivenessDesk,
    open_liveness_session,
    receive_liveness_result,
    simulate_liveness_result,
)
from safeconduct.app.import_evidence import alerts
from safeconduct.identity.evidence import Outcome, VerificationMethod
from safeconduct.identity.liveness import (
    DEVELOPMENT_VENDOR,
    TOLERANCE,
    Members,
    Scheme,
    read_vendors,
    sign_timestamped,
    verify_result,
)
from safeconduct.kernel.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    UnsafeConfiguration,
    VerificationFailed,
)
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import EDDSA, FileSigner, Secret

SUBJECT = SubjectId("sub_madeup")
SECRET, OLD_SECRET = "made-up secret of a vendor", "made-up secret of before"
SIGNER = FileSigner.generate(EDDSA)


def configuration(*more):
    one = {"name": "vendor-a", "scheme": "hmac-sha256-timestamped", "header": "vendor-signature"}
    return json.dumps(
        {
            "vendors": [
                {**one, "secrets": [SECRET, OLD_SECRET]},
                {**one, "name": "vendor-b", "secrets": ["another made-up secret"]},
                *more,
            ]
        }
    ).encode()


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


@pytest.fixture
def desk(embedded):
    return LivenessDesk(embedded.instance, read_vendors(configuration()))


def opened(desk, case="case-1", **given):
    return open_liveness_session(desk, case=case, subject=SUBJECT, evidence="passport", **given)


def body_of(desk, session, **change):
    members = {
        "event": "evt-1",
        "case": session.case,
        "nonce": session.nonce,
        "liveness": "pass",
        "selfie_match": "pass",
        "at": int(desk.instance.clock.now()),
        **change,
    }
    return json.dumps(members).encode()


def send(desk, body, *, secret=SECRET, vendor="vendor-a", at=None):
    at = int(desk.instance.clock.now()) if at is None else at
    return receive_liveness_result(desk, vendor, sign_timestamped(Secret(secret), body, at=at), body)


def refused(step, call):
    with pytest.raises(VerificationFailed) as failure:
        call()
    assert failure.value.step == step, failure.value


def test_a_signed_result_becomes_a_verification_of_the_document(desk):
    session = opened(desk)
    send(desk, body_of(desk, session))
    (verification,) = desk.verifications("case-1")
    assert verification.evidence == "passport"
    assert (verification.method, verification.outcome) == (VerificationMethod.FACIAL_AUTOMATED, Outcome.PASS)


@pytest.mark.parametrize("change", [{"liveness": "fail"}, {"selfie_match": "fail"}])
def test_a_photograph_or_another_face_is_a_failure(desk, change):
    send(desk, body_of(desk, opened(desk), **change))
    assert [each.outcome for each in desk.verifications("case-1")] == [Outcome.FAIL]


def test_a_replayed_result_is_refused_also_after_a_restart(embedded, desk):
    body = body_of(desk, opened(desk))
    send(desk, body)
    with pytest.raises(Conflict, match="before"):
        send(desk, body)
    embedded.reopen()
    again = LivenessDesk(embedded.instance, read_vendors(configuration()))
    with pytest.raises(Conflict, match="before"):
        send(again, body)
    assert alerts(embedded.instance) == []


def test_a_second_different_result_for_one_session_is_an_alert(desk):
    session = opened(desk)
    send(desk, body_of(desk, session, liveness="fail"))
    with pytest.raises(Conflict):
        send(desk, body_of(desk, session, event="evt-2"))
    assert [each.outcome for each in desk.verifications("case-1")] == [Outcome.FAIL]
    assert len(alerts(desk.instance)) == 1


@pytest.mark.parametrize("place", [0, 40, -2])
def test_an_altered_result_is_refused(desk, place):
    body = bytearray(body_of(desk, opened(desk)))
    header = sign_timestamped(Secret(SECRET), bytes(body), at=int(desk.instance.clock.now()))
    body[place] ^= 1
    refused("signature", lambda: receive_liveness_result(desk, "vendor-a", header, bytes(body)))
    assert desk.verifications("case-1") == ()


def test_a_result_under_another_time_than_it_was_signed_for_is_refused(desk):
    body = body_of(desk, opened(desk))
    now = int(desk.instance.clock.now())
    header = sign_timestamped(Secret(SECRET), body, at=now - 9_999).replace(str(now - 9_999), str(now))
    refused("signature", lambda: receive_liveness_result(desk, "vendor-a", header, body))


@pytest.mark.parametrize("offset", [-TOLERANCE - 1, TOLERANCE + 1])
def test_a_result_sent_late_or_from_the_future_is_refused(desk, offset):
    body = body_of(desk, opened(desk))
    refused("times", lambda: send(desk, body, at=int(desk.instance.clock.now()) + offset))


def test_a_result_after_the_sessions_end_is_refused(embedded, desk):
    session = opened(desk)
    embedded.clock.move_to(embedded.now + SESSION_SECONDS)
    with pytest.raises(Conflict, match="ended"):
        send(desk, body_of(desk, session))


def test_a_result_older_than_its_session_is_refused(desk):
    session = opened(desk)
    with pytest.raises(Conflict, match="older"):
        send(desk, body_of(desk, session, at=session.opened - 3_600))


def test_a_result_for_another_case_is_refused_and_an_alert(desk):
    mine, other = opened(desk), opened(desk, "case-2")
    with pytest.raises(Conflict, match="case"):
        send(desk, body_of(desk, mine, case=other.case))
    assert desk.verifications("case-1") == desk.verifications("case-2") == ()
    assert "another case" in alerts(desk.instance)[0].text


def test_another_vendor_cannot_answer_a_session(desk):
    session = opened(desk, vendor="vendor-a")
    refused("signature", lambda: send(desk, body_of(desk, session), vendor="vendor-b"))
    with pytest.raises(Conflict, match="vendor"):
        send(desk, body_of(desk, session), vendor="vendor-b", secret="another made-up secret")
    assert "another vendor" in alerts(desk.instance)[0].text


def test_a_nonce_that_was_never_given_is_refused(desk):
    session = opened(desk)
    with pytest.raises(NotFound):
        send(desk, body_of(desk, session, nonce="made-up"))
    with pytest.raises(NotFound):
        send(desk, body_of(desk, session), vendor="vendor-c")


def test_a_secret_being_replaced_still_verifies(desk):
    assert send(desk, body_of(desk, opened(desk)), secret=OLD_SECRET).result is not None


@pytest.mark.parametrize(
    ("header", "step"),
    [
        (None, "structure"),
        ("", "structure"),
        ("t=1", "structure"),
        ("v1=00", "structure"),
        ("t=1,t=2,v1=00", "structure"),
        ("t=-1,v1=00", "structure"),
        ("t=1,v1=zz", "structure"),
        ("t=1,v1=" + "00" * 2000, "structure"),
        ("t=1,v1=" + "00" * 32, "signature"),
        ("t=1,v1=", "signature"),
    ],
)
def test_a_signature_that_is_none_is_refused_by_name(desk, header, step):
    body = body_of(desk, opened(desk))
    refused(step, lambda: receive_liveness_result(desk, "vendor-a", header, body))


@pytest.mark.parametrize(
    "change",
    [
        {"liveness": "pending"},
        {"liveness": True},
        {"selfie_match": None},
        {"at": "yesterday"},
        {"at": True},
        {"at": "0000-00-00"},
        {"case": ""},
        {"case": "x" * 500},
        {"nonce": ["x"]},
    ],
)
def test_a_body_without_a_final_result_is_refused(desk, change):
    refused("claims", lambda: send(desk, body_of(desk, opened(desk), **change)))


def test_a_body_that_is_too_large_or_doubled_is_refused(desk):
    session = opened(desk)
    refused("structure", lambda: send(desk, b" " * 70_000))
    doubled = body_of(desk, session, liveness="fail")[:-1] + b', "liveness": "pass"}'
    refused("structure", lambda: send(desk, doubled))


def test_a_vendors_own_form_of_body_fits_by_configuration():
    """As a provider with a deep body, its own words and a plain signature over the body would send it."""
    vendor = {
        "name": "vendor-d",
        "scheme": "hmac-sha256",
        "header": "x-sha2-signature",
        "secrets": [SECRET],
        "members": {
            "event": "/payload/id",
            "case": "/payload/object/tags/0",
            "nonce": "/payload/object/ref~1nonce",
            "liveness": "/payload/object/reports/liveness",
            "match": "/payload/object/reports/face",
            "at": "/payload/completed_at",
        },
        "passed": ["clear"],
        "failed": ["consider"],
    }
    (_, _, read) = read_vendors(configuration(vendor))
    body = json.dumps(
        {
            "payload": {
                "id": "e",
                "completed_at": "2026-06-11T12:00:00Z",
                "object": {
                    "tags": ["case-1"],
                    "ref/nonce": "n",
                    "reports": {"liveness": "clear", "face": "consider"},
                },
            }
        }
    ).encode()
    now = 1_781_179_200
    header = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    result = verify_result(read, header, body, now=now)
    assert (result.case, result.liveness, result.match) == ("case-1", Outcome.PASS, Outcome.FAIL)
    refused("times", lambda: verify_result(read, header, body, now=now + TOLERANCE + 1))


def test_an_ed25519_signature_verifies():
    vendor = {
        "name": "vendor-e",
        "scheme": "ed25519-timestamped",
        "header": "vendor-signature",
        "keys": [SIGNER.public_jwk()],
    }
    read = read_vendors(configuration(vendor))[-1]
    body = b'{"event":"e","case":"c","nonce":"n","liveness":"pass","selfie_match":"pass","at":1781179200}'
    signature = SIGNER.sign(b"1781179200." + body).hex()
    header = f"t=1781179200,v1={signature}"
    assert verify_result(read, header, body, now=1_781_179_200).outcome is Outcome.PASS
    other = f"t=1781179200,v1={FileSigner.generate(EDDSA).sign(b'1781179200.' + body).hex()}"
    refused("signature", lambda: verify_result(read, other, body, now=1_781_179_200))


def test_nobody_tries_until_it_passes(desk):
    for _ in range(MAX_ATTEMPTS):
        opened(desk)
    with pytest.raises(Conflict) as failure:
        opened(desk)
    assert "person" in failure.value.remedy


def test_a_later_success_counts_and_every_attempt_is_kept(embedded, desk):
    send(desk, body_of(desk, opened(desk), liveness="fail"))
    embedded.clock.move_to(embedded.now + 60)
    send(desk, body_of(desk, opened(desk)))
    assert [each.outcome for each in desk.verifications("case-1")] == [Outcome.PASS]
    assert len(desk.sessions("case-1")) == 2


def test_the_development_provider_says_so_everywhere(embedded):
    desk = LivenessDesk(embedded.instance)
    session = opened(desk)
    assert (session.vendor, session.development) == (DEVELOPMENT_VENDOR, True)
    done = simulate_liveness_result(desk, session.nonce, match="fail")
    assert done.result.development
    assert [each.outcome for each in desk.verifications("case-1")] == [Outcome.FAIL]
    _, body = desk.development_message(opened(desk), liveness="pass", match="pass")
    assert "nobody was looked at" in json.loads(body)["note"]


def test_production_has_no_development_provider_and_counts_none_of_its_results(embedded):
    development = LivenessDesk(embedded.instance)
    nonce = opened(development).nonce
    simulate_liveness_result(development, nonce)
    instance = msgspec.structs.replace(embedded.instance, profile="production")
    production = LivenessDesk(instance)
    assert production.verifications("case-1") == ()
    with pytest.raises(UnsafeConfiguration, match="no provider"):
        opened(production)
    with pytest.raises(NotFound):
        receive_liveness_result(production, DEVELOPMENT_VENDOR, "t=1,v1=00", b"{}")
    with pytest.raises(UnsafeConfiguration, match="development"):
        simulate_liveness_result(production, nonce)
    with pytest.raises(UnsafeConfiguration, match="development"):
        LivenessDesk(instance, (development.vendor(DEVELOPMENT_VENDOR),))


def test_the_development_provider_answers_its_own_sessions_only(desk):
    session = opened(desk)
    assert session.vendor == "vendor-a"
    with pytest.raises(Exception, match="another provider"):
        simulate_liveness_result(desk, session.nonce)


@pytest.mark.parametrize(
    "change",
    [
        {"name": DEVELOPMENT_VENDOR},
        {"name": "Vendor"},
        {"name": "vendor-a"},
        {"secrets": []},
        {"secrets": ["short"]},
        {"keys": [SIGNER.public_jwk()]},
        {"scheme": "md5"},
        {"scheme": "ed25519-timestamped"},
        {"header": "No Header"},
        {"passed": ["x"], "failed": ["x"]},
        {"passed": []},
        {"members": {"case": "case"}},
        {"members": {"unknown": "/x"}},
        {"development": True},
    ],
)
def test_a_configuration_that_is_unsafe_is_refused_and_shows_no_secret(change):
    vendor = {
        "name": "vendor-c",
        "scheme": "hmac-sha256-timestamped",
        "header": "h",
        "secrets": ["made-up secret number 9"],
    }
    with pytest.raises(InvalidInput) as failure:
        read_vendors(configuration({**vendor, **change}))
    assert "number 9" not in str(failure.value)


def test_a_vendor_shows_no_secret():
    for vendor in read_vendors(configuration()):
        assert SECRET not in repr(vendor)
    assert Members().case == "/case"
    assert Scheme.HMAC == "hmac-sha256"


def test_erasure_takes_the_sessions_with_it(embedded, desk):
    session = opened(desk)
    embedded.instance.vault.forget(SUBJECT)
    assert desk.sessions("case-1") == []
    assert desk.session(session.nonce) is None
