"""What people try: each gets a clear error or an alert, never a half-written case."""

import base64
import datetime as dt
import json
import zlib

import msgspec
import pytest
from tests.support.evidence import PERSON_ORGANISATION
from tests.support.instances import operator, organisation

from safeconduct.app.add_kyc_document import AddKycDocument, add_kyc_document
from safeconduct.app.assess_case import us_status
from safeconduct.app.assign_kyc_case import assign_kyc_case
from safeconduct.app.attest_affiliation import attest_affiliation
from safeconduct.app.document_authorities import ImportAuthorities, import_authorities
from safeconduct.app.import_evidence import load_assessment
from safeconduct.app.inspect_kyc_document import InspectDocument, inspect_kyc_document
from safeconduct.app.open_kyc_case import OpenKycCase, open_kyc_case
from safeconduct.app.ports import Caller
from safeconduct.app.rate_kyc_case import resolve_alert
from safeconduct.app.read_kyc_cases import raw_document, show_kyc_case
from safeconduct.app.screen_kyc_case import screen_kyc_case
from safeconduct.cli.sample.utopia import Utopia
from safeconduct.identity.screening.port import MATCH_NAME, POSSIBLE_NAME, DevelopmentScreener
from safeconduct.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    SafeconductError,
    UnsafeConfiguration,
    VerificationFailed,
)
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import CaseState, Level, Role, UsStatus


def png(*, extra=b"", width=8, height=8, damaged=False):
    def chunk(kind, body):
        sum_ = zlib.crc32(kind + body) ^ damaged
        return len(body).to_bytes(4, "big") + kind + body + sum_.to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(b"\0" * 72)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"") + extra


def jpeg(extra=b""):
    frame = b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x12\xff\x00\x34\xff\xd0\x56"
    return b"\xff\xd8" + b"\xff\xe0\x00\x04AB" + frame + scan + b"\xff\xd9" + extra


def hand_in(bench, who, kind, data):
    content = data if kind == "zone" else base64.b64encode(data).decode()
    return add_kyc_document(bench.desk, who.caller, who.case, AddKycDocument(kind, content))


@pytest.mark.parametrize("data", [png(), jpeg()])
def test_a_photograph_is_kept_and_proves_nothing_by_itself(bench, data):
    anna = bench.applicant()
    anna.open()
    held = hand_in(bench, anna, "image", data)
    assert held.validations == ()
    assert show_kyc_case(bench.desk, anna.caller, anna.case)["assurance"]["ial"] == 0


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("pdf", "image", b"%PDF-1.7\n" + b"1 0 obj\n" * 10_000),
        ("gif", "image", b"GIF89a" + b"\0" * 100),
        ("svg_with_an_entity", "image", b'<!DOCTYPE x [<!ENTITY a "b">]><svg>&a;</svg>'),
        ("zip_behind_a_png", "image", png(extra=b"PK\x03\x04" + b"\0" * 50)),
        ("script_behind_a_jpeg", "image", jpeg(extra=b"<script>alert(1)</script>")),
        ("pdf_behind_a_jpeg", "image", jpeg(extra=b"%PDF-1.7")),
        ("damaged_png", "image", png(damaged=True)),
        ("cut_off_jpeg", "image", jpeg()[:-3]),
        ("bomb_by_its_header", "image", png(width=2_000_000_000, height=2_000_000_000)),
        ("empty_png", "image", png(width=0)),
        ("too_large", "image", png(extra=b"\0" * (4 << 20))),
        ("empty", "image", b""),
        ("chip_that_is_an_image", "chip", png()),
        ("chip_without_dg1", "chip", json.dumps({"sod": "AAAA"}).encode()),
        ("chip_that_is_nested_json", "chip", b"[" * 50_000),
        ("chip_with_a_member_twice", "chip", b'{"sod":"AAAA","SOD":"AAAA","dg1":"AAAA"}'),
        ("chip_of_truncated_asn1", "chip", json.dumps({"sod": "dwAB", "dg1": "YQA="}).encode()),
        ("zone_that_is_prose", "zone", "Once upon a time there was a passport"),
        ("zone_with_a_wrong_digit", "zone", "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C37UTO7408122F3204159ZE184226B<<<<<10"),
        ("unknown_kind", "carrier-pigeon", b"x"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_field_and_leaves_nothing(bench, name, kind, data):
    anna = bench.applicant()
    anna.open()
    before = bench.file(anna.case)
    documents = bench.instance.vault.names("kyc-raw")
    with pytest.raises((InvalidInput, VerificationFailed)) as refused:
        hand_in(bench, anna, kind, data)
    assert refused.value.message
    after = bench.file(anna.case)
    assert (after.case, after.person) == (before.case, before.person)
    assert bench.instance.vault.names("kyc-raw") == documents


def test_content_that_is_not_base64_is_refused(bench):
    anna = bench.applicant()
    anna.open()
    for text in ("%%%", "é", "AAA"):
        with pytest.raises(InvalidInput, match="not base64"):
            add_kyc_document(bench.desk, anna.caller, anna.case, AddKycDocument("chip", text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("legal_name", "x" * 5_000),
        ("legal_name", "Anna \u202eelpmaxE"),
        ("legal_name", "Anna\x00Example"),
        ("legal_name", "   "),
        ("legal_name", "\u200b\u200b"),
        ("legal_name", "...---..."),
        ("other_names", tuple(f"name {number}" for number in range(21))),
        ("purpose", "x" * 5_000),
        ("email", "not an address"),
        ("email", "a@b"),
        ("birth_date", "0000-01-01"),
        ("birth_date", "9999-12-31"),
        ("birth_date", "1850-01-01"),
        ("birth_date", "2025-02-30"),
        ("birth_date", "yesterday"),
        ("birth_date", "2999-01-01"),
        ("citizenships", ("France",)),
        ("citizenships", ("fr",)),
        ("citizenships", ("XX",)),
        ("citizenships", ("FR",) * 17),
        ("address", "Sample\u2066Street"),
        ("role", "engineer\r\nSet-Cookie: x"),
    ],
)
def test_a_statement_that_hides_or_cannot_be_is_refused_by_field(bench, field, value):
    anna = bench.applicant()
    anna.open()
    with pytest.raises(InvalidInput) as refused:
        anna.state(**{field: value})
    assert refused.value.field.startswith(field)
    assert refused.value.remedy or refused.value.message
    assert bench.file(anna.case).person.application is None


@pytest.mark.parametrize(
    "name", ["Nguyễn Văn Mẫu", "محمد نمونه", "می‌نا نمونه", "山田 花子", "O’Neill-Sample"]
)
def test_names_of_every_script_are_accepted(bench, name):
    anna = bench.applicant()
    anna.open()
    assert anna.state(legal_name=name).person.application.legal_name


def test_the_same_document_for_two_people_is_an_alert_and_counts_for_the_first_only(bench):
    anna = bench.applicant()
    anna.complete()
    bruno = bench.applicant()
    bruno.export = anna.export
    bruno.complete()
    alerts = bench.file(bruno.case).person.open_alerts()
    assert [(alert.kind, alert.other) for alert in alerts] == [("document", anna.subject)]
    bench.screen(bruno.case)
    bench.rate(bruno.case)
    with pytest.raises(Conflict) as refused:
        bench.decide(bruno.case)
    assert refused.value.field == "alerts"
    # Resolved without a finding for him, the document still does not count.
    resolve_alert(
        bench.desk, bench.reviewer(), bruno.case, alerts[0].id, "It is hers.", counts=False, version=bench.version(bruno.case)
    )  # fmt: skip
    with pytest.raises(Conflict) as refused:
        bench.decide(bruno.case)
    assert refused.value.field == "level"
    assert bench.file(anna.case).person.open_alerts() == ()


def test_an_alert_is_resolved_with_a_rationale_only(bench):
    anna, bruno = bench.applicant(), bench.applicant()
    anna.complete()
    bruno.export = anna.export
    bruno.complete()
    assign_kyc_case(bench.desk, bench.reviewer(), bruno.case)
    alert = bench.file(bruno.case).person.open_alerts()[0]
    with pytest.raises(InvalidInput):
        resolve_alert(
            bench.desk, bench.reviewer(), bruno.case, alert.id, " ", counts=True, version=bench.version(bruno.case)
        )  # fmt: skip
    resolve_alert(
        bench.desk, bench.reviewer(), bruno.case, alert.id, "Seen both.", counts=True, version=bench.version(bruno.case)
    )  # fmt: skip
    assert show_kyc_case(bench.desk, bruno.caller, bruno.case)["assurance"]["ial"] == 2


def test_one_person_under_two_names_is_an_alert(bench):
    anna = bench.applicant()
    anna.open()
    anna.state(legal_name="Zoe Quite Another")
    anna.hand_in()
    assert [alert.kind for alert in bench.file(anna.case).person.open_alerts()] == ["name_differs"]
    anna.state()
    kinds = {alert.kind for alert in bench.file(anna.case).person.open_alerts()}
    assert kinds == {"name_differs", "two_names"}


def test_the_same_passport_text_and_chip_are_one_document(bench):
    anna = bench.applicant(number="AB1234567")
    anna.open()
    anna.hand_in()
    bruno = bench.applicant("Bruno Specimen Example", number="AB1234567")
    bruno.open()
    bruno.hand_in()
    assert [alert.kind for alert in bench.file(bruno.case).person.open_alerts()] == ["document"]


def test_a_reviewer_does_not_decide_their_own_case(bench):
    signer = bench.embedded.key("analyst")
    jwk = {name: signer.public_jwk()[name] for name in ("kty", "crv", "x", "y")}
    caller = Caller(role=Role.APPLICANT, party="applicant", id=signer.kid, jwk=jwk)
    with pytest.raises(Forbidden, match="trust list"):
        open_kyc_case(bench.desk, caller, OpenKycCase(level=Level.C1))


def test_an_analyst_tied_to_the_organisation_is_kept_out_and_cannot_hand_the_case_to_a_friend(bench):
    anna = bench.applicant()
    anna.complete()
    tied = bench.reviewer("tied-analyst")
    with pytest.raises(Forbidden, match="tied to the applicant"):
        assign_kyc_case(bench.desk, tied, anna.case)
    with pytest.raises(Forbidden, match="tied to the applicant"):
        assign_kyc_case(bench.desk, tied, anna.case, reviewer=bench.reviewer("analyst-2").id)
    with pytest.raises(Forbidden, match="tied to the applicant"):
        assign_kyc_case(bench.desk, bench.reviewer(), anna.case, reviewer=tied.id)
    with pytest.raises(Forbidden):
        show_kyc_case(bench.desk, tied, anna.case)


def test_who_is_not_assigned_sees_nothing_of_the_person(bench):
    anna = bench.applicant()
    anna.complete()
    document = bench.file(anna.case).person.documents[0].id
    for call in (
        lambda: show_kyc_case(bench.desk, bench.reviewer(), anna.case),
        lambda: raw_document(bench.desk, bench.reviewer(), anna.case, document),
        lambda: screen_kyc_case(bench.desk, bench.reviewer(), anna.case, version=bench.version(anna.case)),
    ):
        with pytest.raises(Forbidden, match="not assigned"):
            call()
    with pytest.raises(Forbidden):
        show_kyc_case(bench.desk, operator(), anna.case)


def test_another_organisation_cannot_attest_and_learns_nothing(bench):
    anna = bench.applicant()
    anna.open()
    with pytest.raises(NotFound):
        attest_affiliation(bench.desk, organisation("somebody-else"), anna.case)
    assert attest_affiliation(bench.desk, organisation(PERSON_ORGANISATION), anna.case)


def test_nobody_states_a_status_that_opens_doors(bench):
    anna = bench.applicant()
    anna.open()
    for status in (UsStatus.CITIZEN, UsStatus.LPR, UsStatus.REFUGEE):
        anna.state(us_status=status)
        assert us_status(bench.file(anna.case).person, now=bench.now) is UsStatus.UNDECLARED
    anna.state(us_status=UsStatus.OTHER)
    assert us_status(bench.file(anna.case).person, now=bench.now) is UsStatus.OTHER


def test_a_passport_of_the_united_states_shows_citizenship_and_a_disputed_one_does_not(bench):
    anna = bench.applicant(nationality="USA")
    anna.open()
    anna.state()
    anna.hand_in()
    assert us_status(bench.file(anna.case).person, now=bench.now) is UsStatus.CITIZEN
    bruno = bench.applicant("Bruno Specimen Example")
    bruno.export = anna.export
    bruno.open()
    bruno.state()
    bruno.hand_in()
    assert us_status(bench.file(bruno.case).person, now=bench.now) is UsStatus.OTHER


def test_a_child_is_no_adult(bench):
    anna = bench.applicant(birth=dt.date(2015, 1, 1))
    anna.complete()
    bench.approve(anna.case)
    issued = anna.collect()
    assert issued.sd_jwt
    assert load_assessment(bench.instance, anna.subject).claims.age_over_18 is False


def test_a_possible_match_is_cleared_with_a_rationale_and_a_match_not_by_an_analyst(bench):
    anna = bench.applicant()
    anna.open()
    anna.state(other_names=(POSSIBLE_NAME,))
    document = anna.hand_in()
    anna.passkey()
    anna.look(document)
    anna.attest()
    anna.submit()
    bench.screen(anna.case)
    bench.rate(anna.case)
    with pytest.raises(Conflict) as refused:
        bench.decide(anna.case)
    assert refused.value.field == "screening"
    with pytest.raises(InvalidInput):
        bench.clear_match(anna.case, "")
    bench.clear_match(anna.case)
    assert bench.decide(anna.case).case.state is CaseState.APPROVED

    bruno = bench.applicant("Bruno Specimen Example")
    bruno.open()
    bruno.state(other_names=(MATCH_NAME,))
    document = bruno.hand_in()
    bruno.passkey()
    bruno.look(document)
    bruno.attest()
    bruno.submit()
    bench.screen(bruno.case)
    bench.rate(bruno.case)
    with pytest.raises(Forbidden):
        bench.clear_match(bruno.case)
    with pytest.raises(Conflict):
        bench.decide(bruno.case)
    shown = show_kyc_case(bench.desk, bruno.caller, bruno.case)
    assert "screening" not in shown
    assert MATCH_NAME in shown["application"].other_names


def test_an_error_of_the_screening_provider_is_never_a_clear_result(bench):
    class Broken:
        name, development = "broken", True

        def screen(self, person, *, now):
            raise SafeconductError("the provider is away")

    anna = bench.applicant()
    anna.complete()
    assign_kyc_case(bench.desk, bench.reviewer(), anna.case)
    desk = msgspec.structs.replace(bench.desk, screener=Broken())
    with pytest.raises(SafeconductError, match="away"):
        screen_kyc_case(desk, bench.reviewer(), anna.case, version=bench.version(anna.case))
    assert bench.file(anna.case).case.state is CaseState.SUBMITTED
    assert bench.file(anna.case).person.screening is None


def test_production_refuses_specimens_and_development_providers(bench):
    anna = bench.applicant()
    anna.complete()
    assign_kyc_case(bench.desk, bench.reviewer(), anna.case)
    bench.build(profile="production")
    assert not bench.desk.screening().development
    desk = msgspec.structs.replace(bench.desk, lists=None, screener=DevelopmentScreener())
    with pytest.raises(UnsafeConfiguration):
        screen_kyc_case(desk, bench.reviewer(), anna.case, version=bench.version(anna.case))
    bruno = bench.applicant("Bruno Specimen Example")
    bruno.open()
    with pytest.raises(Forbidden, match="specimen"):
        bruno.hand_in()


def test_an_authority_is_believed_with_its_digest_only(bench):
    other = Utopia(now=bench.now)
    file = base64.b64encode(other.authority).decode()
    with pytest.raises(VerificationFailed):
        import_authorities(bench.desk, operator(), ImportAuthorities(file=file))
    with pytest.raises(InvalidInput):
        import_authorities(bench.desk, operator(), ImportAuthorities(file=file, sha256="0" * 64))
    with pytest.raises(Forbidden):
        import_authorities(bench.desk, bench.reviewer(), ImportAuthorities(file=file))
    anna = bench.applicant()
    anna.open()
    export = other.export(surname="Example", given_names="Anna", birth=dt.date(1990, 2, 28))
    with pytest.raises(VerificationFailed) as refused:
        anna.hand_in(export)
    assert refused.value.step == "certificate"


def test_a_second_case_of_the_same_key_is_the_same_person_and_one_at_a_time(bench):
    anna = bench.applicant()
    anna.complete()
    with pytest.raises(Conflict, match="is open"):
        anna.open()


def test_a_stranger_with_a_key_finds_nothing(bench):
    anna = bench.applicant()
    case = anna.complete()
    stranger = Caller(role=Role.APPLICANT, party="applicant", id=FileSigner.generate().kid, jwk={})
    with pytest.raises(NotFound):
        show_kyc_case(bench.desk, stranger, case)


def inspection(bench, case, document, **changes):
    return InspectDocument(
        **{
            "version": bench.version(case),
            "document": document.id,
            "kind": "residence_permit",
            "genuine": True,
            "country": "US",
            "number": "SRC1234567890",
            "surname": "Example",
            "given_names": "Anna Specimen",
            "expires": "2031-02-28",
            **changes,
        }
    )


def test_a_permit_that_was_inspected_makes_a_stated_residence_count(bench):
    anna = bench.applicant()
    anna.open()
    anna.state(us_status=UsStatus.LPR)
    permit = hand_in(bench, anna, "image", jpeg())
    anna.hand_in()
    anna.passkey()
    anna.attest()
    anna.submit()
    assign_kyc_case(bench.desk, bench.reviewer(), anna.case)
    assert us_status(bench.file(anna.case).person, now=bench.now) is UsStatus.UNDECLARED
    inspect_kyc_document(bench.desk, bench.reviewer(), anna.case, inspection(bench, anna.case, permit))
    assert us_status(bench.file(anna.case).person, now=bench.now) is UsStatus.LPR
    assert us_status(bench.file(anna.case).person, now=bench.now + 20 * 366 * 86_400) is UsStatus.UNDECLARED


def test_an_inspection_alone_reaches_no_assurance_and_one_passport_is_one_piece_of_evidence(bench):
    anna = bench.applicant(number="AB7654321")
    anna.open()
    anna.state()
    page = hand_in(bench, anna, "image", png())
    anna.passkey()
    anna.attest()
    anna.submit()
    assign_kyc_case(bench.desk, bench.reviewer(), anna.case)
    ask = inspection(bench, anna.case, page, kind="passport_page", country="FR", number="AB 7654 321")
    inspect_kyc_document(bench.desk, bench.reviewer(), anna.case, ask)
    assert show_kyc_case(bench.desk, bench.reviewer(), anna.case)["assurance"]["ial"] == 0
    with pytest.raises(Conflict):
        inspect_kyc_document(
            bench.desk, bench.reviewer(), anna.case, inspection(bench, anna.case, page, kind="identity_card")
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "library_card"),
        ("country", "XX"),
        ("number", "\u202e1"),
        ("expires", "9999-12-31"),
        ("expires", "0000-00-00"),
        ("expires", "soon"),
        ("birth_date", "9999-01-01"),
    ],
)
def test_an_inspection_that_cannot_be_is_refused_by_field(bench, field, value):
    anna = bench.applicant()
    anna.open()
    anna.state()
    page = hand_in(bench, anna, "image", png())
    anna.passkey()
    anna.attest()
    anna.submit()
    assign_kyc_case(bench.desk, bench.reviewer(), anna.case)
    with pytest.raises(InvalidInput) as refused:
        inspect_kyc_document(
            bench.desk, bench.reviewer(), anna.case, inspection(bench, anna.case, page, **{field: value})
        )
    assert refused.value.field == field
    assert bench.file(anna.case).person.documents[0].kind == "image"


def test_the_record_holds_pseudonyms_and_commitments_only(bench):
    anna = bench.applicant()
    anna.complete()
    bench.approve(anna.case)
    anna.collect()
    log = bench.embedded.opened.record_log
    entries = b"".join(log.read(0, log.durable_size))
    assert anna.case.encode() in entries
    for secret in (b"Anna", b"ANNA", b"Example", b"EXAMPLE", b"somebody@", b"Sample Street", b"1990-02-28"):
        assert secret not in entries
    stored = (bench.embedded.settings.data / "vault.db").read_bytes()
    assert b"ANNA" not in stored


def test_drafts_of_people_who_showed_nothing_are_bounded_in_number_and_size(bench, monkeypatch):
    monkeypatch.setattr("safeconduct.app.open_kyc_case.MAX_DRAFTS", 2)
    first = bench.applicant()
    first.open()
    bench.applicant().open()
    with pytest.raises(Conflict, match="too many drafts"):
        bench.applicant().open()
    images = [jpeg()[:-2] + bytes([number + 1]) * ((5 << 20) // 2) + b"\xff\xd9" for number in range(4)]
    for image in images[:3]:
        hand_in(bench, first, "image", image)
    with pytest.raises(Conflict, match="bytes"):
        hand_in(bench, first, "image", images[3])


def test_the_same_file_twice_is_one_document(bench):
    anna = bench.applicant()
    anna.open()
    anna.hand_in()
    with pytest.raises(Conflict, match="already"):
        anna.hand_in()
    assert len(bench.file(anna.case).person.documents) == 1
