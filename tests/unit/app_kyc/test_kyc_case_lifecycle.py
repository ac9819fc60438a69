"""The way of a case through the store and the record: approval, refresh, expiry, loss, appeal, two at once."""

import datetime as dt
import threading

import pytest
from tests.support.evidence import import_organisation
from tests.support.kyc import DAY

from safeconduct.app.assign_kyc_case import assign_kyc_case
from safeconduct.app.end_kyc_approval import EndApproval, end_kyc_approval
from safeconduct.app.kyc_desk import settle
from safeconduct.app.kyc_files import load, save
from safeconduct.app.read_kyc_cases import show_kyc_case
from safeconduct.app.register_authenticator import report_lost
from safeconduct.app.request_kyc_information import request_kyc_information
from safeconduct.app.sweep_kyc_cases import sweep_kyc_cases
from safeconduct.app.withdraw_kyc_case import appeal_kyc_case, report_document_lost, withdraw_kyc_case
from safeconduct.identity.kyc_case import changed
from safeconduct.identity.kyc_states import Outcome
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.vocabulary import CaseState, ClearanceState, Level, PassportStatus, Risk


def test_an_approved_case_grants_the_clearance_and_issues_the_passport_through_the_record(bench):
    anna = bench.applicant()
    case = anna.complete()
    approved = bench.approve(case)
    assert approved.case.state is CaseState.APPROVED
    issued = anna.collect()
    held = bench.state.subjects[anna.subject]
    assert held.clearance.granted.level is Level.C2
    assert held.clearance.state is ClearanceState.GRANTED
    assert held.clearance.granted.valid_until <= approved.case.approval.until
    assert held.passports == (issued.passport,)
    recorded = bench.state.kyc_cases[case]
    assert (recorded.last.state, recorded.last.level) == (CaseState.APPROVED, Level.C2)
    assert recorded.last.reviewers == (bench.reviewer().id,)


def test_the_assurance_is_computed_and_each_sentence_named(bench):
    anna = bench.applicant()
    case = anna.open()
    anna.state()
    document = anna.hand_in()
    anna.passkey()
    before = show_kyc_case(bench.desk, anna.caller, case)["assurance"]
    assert before["ial"] == 0
    assert any("SP 800-63A-4 4.2.6" in line for line in before["missing"])
    anna.look(document)
    after = show_kyc_case(bench.desk, anna.caller, case)["assurance"]
    assert (after["ial"], after["aal"], after["fal"]) == (2, 3, 2)
    assert any("SP 800-63A-4 4.2.2" in line for line in after["met"])
    assert before["verified_claims"] is None
    verified = after["verified_claims"]
    assert verified["verification"]["trust_framework"] == "nist_800_63A"
    assert verified["verification"]["assurance_level"] == "ial2"
    (evidence,) = verified["verification"]["evidence"]
    assert [check["check_method"] for check in evidence["check_details"]] == ["vcrypt", "bvr"]
    assert evidence["document_details"]["type"] == "passport"
    assert verified["claims"] == {
        "family_name": "EXAMPLE",
        "given_name": "ANNA SPECIMEN",
        "birthdate": "1990-02-28",
    }


def test_a_failed_liveness_check_keeps_the_case_below_what_it_asks_for(bench):
    anna = bench.applicant()
    anna.open()
    anna.state()
    anna.look(anna.hand_in(), match="fail")
    anna.passkey()
    anna.attest()
    anna.submit()
    bench.screen(anna.case)
    bench.rate(anna.case)
    with pytest.raises(Conflict) as refused:
        bench.decide(anna.case)
    assert refused.value.field == "level"
    assert bench.file(anna.case).case.state is CaseState.REVIEW


def test_of_two_reviewers_who_decide_at_once_one_wins_and_the_other_is_told(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.screen(case)
    bench.rate(case)
    assign_kyc_case(bench.desk, bench.reviewer("analyst-2"), case)
    seen = bench.version(case)
    results = []
    barrier = threading.Barrier(2)

    def vote(party, outcome):
        barrier.wait()
        try:
            results.append(bench.decide(case, outcome, party, version=seen).case.state)
        except Conflict as conflict:
            results.append(conflict.field)

    threads = [
        threading.Thread(target=vote, args=given)
        for given in (("analyst", Outcome.APPROVED), ("analyst-2", Outcome.REJECTED))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "version" in results
    assert len([one for one in results if isinstance(one, CaseState)]) == 1
    assert bench.file(case).case.state in (CaseState.APPROVED, CaseState.REJECTED)
    assert len(bench.file(case).case.votes) == 1


def test_a_step_that_was_read_before_another_was_written_writes_nothing(bench):
    anna = bench.applicant()
    case = anna.complete()
    old = load(bench.instance, case)
    bench.screen(case)
    with pytest.raises(Conflict):
        save(bench.instance, old, case=changed(old.case, requester="somebody-else"))
    assert bench.file(case).case.state is CaseState.REVIEW


def test_what_a_crash_left_between_store_and_record_the_sweep_makes_good(bench, monkeypatch):
    anna = bench.applicant()
    case = anna.complete()
    bench.screen(case)
    bench.rate(case)
    monkeypatch.setattr("safeconduct.app.decide_kyc_case.settle", lambda desk, file: 0)
    bench.decide(case)
    assert bench.state.subjects.get(anna.subject) is None
    assert sweep_kyc_cases(bench.desk).settled == 1
    assert bench.state.subjects[anna.subject].clearance.granted.level is Level.C2
    assert sweep_kyc_cases(bench.desk).settled == 0


def test_settling_twice_records_nothing_twice(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    before = bench.state.position
    settle(bench.desk, bench.file(case))
    assert bench.state.position == before


def test_an_information_request_stops_the_clock_and_the_answer_starts_it_again(bench):
    anna = bench.applicant()
    case = anna.complete()
    assign_kyc_case(bench.desk, bench.reviewer(), case)
    bench.later(3 * DAY)
    request_kyc_information(
        bench.desk, bench.reviewer(), case, ["Your role, please."], version=bench.version(case)
    )
    bench.later(10 * DAY)
    shown = show_kyc_case(bench.desk, anna.caller, case)
    assert shown["clock_seconds"] == 3 * DAY
    assert shown["asked"] == ["Your role, please."]
    anna.state(role="engineer")
    anna.submit()
    bench.later(DAY)
    assert show_kyc_case(bench.desk, anna.caller, case)["clock_seconds"] == 4 * DAY


def test_an_information_request_nobody_answers_is_returned_without_action(bench):
    anna = bench.applicant()
    case = anna.complete()
    assign_kyc_case(bench.desk, bench.reviewer(), case)
    request_kyc_information(bench.desk, bench.reviewer(), case, ["Something."], version=bench.version(case))
    bench.later(31 * DAY)
    sweep_kyc_cases(bench.desk)
    shown = show_kyc_case(bench.desk, anna.caller, case)
    assert shown["state"] is CaseState.RETURNED_WITHOUT_ACTION
    assert not shown["notice"].adverse
    assert anna.submit().case.state is CaseState.SUBMITTED


def test_expiry_ends_clearance_and_passport_and_a_new_approval_brings_them_back(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    first = anna.collect().passport
    until = bench.file(case).case.approval.until
    bench.clock.move_to(until - 10 * DAY)
    sweep_kyc_cases(bench.desk)
    assert bench.file(case).case.state is CaseState.REFRESH_DUE
    bench.clock.move_to(until)
    sweep_kyc_cases(bench.desk)
    assert bench.file(case).case.state is CaseState.EXPIRED
    assert bench.state.passports[first].status is PassportStatus.INVALID
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.EXPIRED
    anna.submit()
    bench.screen(case, "analyst-2")
    bench.rate(case, party="analyst-2")
    bench.decide(case, party="analyst-2")
    anna.collect()
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.GRANTED


def test_a_high_risk_is_renewed_within_a_year_and_the_earliest_end_counts(bench):
    short = (dt.datetime.fromtimestamp(bench.now, tz=dt.UTC) + dt.timedelta(days=100)).date()
    soon, late = bench.applicant(expires=short), bench.applicant("Bruno Specimen Example")
    for one, risk in ((soon, Risk.STANDARD), (late, Risk.HIGH)):
        one.complete()
        bench.screen(one.case)
        bench.rate(one.case, risk)
        bench.decide(one.case)
    assert bench.file(soon.case).case.approval.limited_by in ("document", "clearance")
    assert bench.file(soon.case).case.approval.until <= bench.now + 101 * DAY
    assert bench.file(late.case).case.approval.until <= bench.now + 365 * DAY


def test_a_lost_document_revokes_at_once_and_another_one_brings_access_back(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    passport = anna.collect().passport
    document = bench.file(case).person.documents[0].id
    position = bench.state.position
    report_document_lost(bench.desk, anna.caller, case, document)
    assert bench.state.position > position
    assert bench.state.passports[passport].status is PassportStatus.INVALID
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.EXPIRED
    with pytest.raises(Conflict):
        anna.collect()
    with pytest.raises(Conflict, match="document"):
        anna.submit()
    new = bench.utopia.export(surname="Example", given_names="Anna Specimen", birth=dt.date(1990, 2, 28))
    anna.look(anna.hand_in(new))
    anna.submit()
    bench.screen(case, "analyst-2")
    bench.rate(case, party="analyst-2")
    bench.decide(case, party="analyst-2")
    assert anna.collect().event.aal == 3
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.GRANTED


def test_a_suspension_stops_everything_and_an_adjudicator_brings_it_back(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    passport = anna.collect().passport
    ask = EndApproval(version=bench.version(case), action="suspend", cause="A made-up inquiry.")
    end_kyc_approval(bench.desk, bench.reviewer("analyst-2"), case, ask)
    assert bench.state.passports[passport].status is PassportStatus.SUSPENDED
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.SUSPENDED
    anna.submit()
    bench.screen(case, "analyst-2")
    bench.rate(case, party="analyst-2")
    with pytest.raises(Forbidden, match="by an adjudicator"):
        bench.decide(case, party="analyst-2")
    assign_kyc_case(bench.desk, bench.reviewer("adjudicator"), case)
    bench.decide(case, party="adjudicator")
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.REINSTATED
    assert anna.collect().event.supersedes == passport


def test_a_revocation_is_an_adjudicators(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    passport = anna.collect().passport
    ask = EndApproval(version=bench.version(case), action="revoke", cause="A made-up cause.")
    with pytest.raises(Forbidden):
        end_kyc_approval(bench.desk, bench.reviewer(), case, ask)
    end_kyc_approval(bench.desk, bench.reviewer("adjudicator"), case, ask)
    assert bench.state.passports[passport].status is PassportStatus.INVALID
    assert bench.state.subjects[anna.subject].clearance.state is ClearanceState.REVOKED


def test_a_misuse_signal_asks_for_a_refresh_within_thirty_days(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    ask = EndApproval(version=bench.version(case), action="refresh", cause="misuse_signal")
    ended = end_kyc_approval(bench.desk, bench.reviewer(), case, ask)
    assert ended.case.state is CaseState.REFRESH_DUE
    assert ended.case.approval.until <= bench.now + 30 * DAY
    assert bench.state.subjects[anna.subject].clearance.granted.valid_until <= bench.now + 30 * DAY


def test_an_appeal_goes_to_another_reviewer_and_can_overturn(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.screen(case)
    bench.rate(case)
    refused = bench.decide(case, Outcome.REJECTED)
    assert show_kyc_case(bench.desk, anna.caller, case)["reasons"] == ["a made-up reason"]
    assert refused.case.state is CaseState.REJECTED
    appeal_kyc_case(bench.desk, anna.caller, case, "The reason does not hold.")
    with pytest.raises(Forbidden, match="decided this case before"):
        assign_kyc_case(bench.desk, bench.reviewer(), case)
    assign_kyc_case(bench.desk, bench.reviewer("analyst-2"), case)
    bench.rate(case, party="analyst-2")
    overturned = bench.decide(case, party="analyst-2")
    assert overturned.case.state is CaseState.APPROVED
    assert overturned.case.appeal.outcome == "overturned"


def test_a_case_is_nobody_elses(bench):
    anna, bruno = bench.applicant(), bench.applicant("Bruno Specimen Example")
    case = anna.complete()
    bruno.open()
    with pytest.raises(NotFound):
        show_kyc_case(bench.desk, bruno.caller, case)


def test_a_lost_authenticator_asks_for_a_refresh(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    passport = anna.collect().passport
    (registered,) = bench.authenticators.registered(anna.subject)
    report_lost(bench.authenticators, anna.subject, registered.credential.id, by="applicant")
    assert bench.state.passports[passport].status is PassportStatus.SUSPENDED
    sweep_kyc_cases(bench.desk)
    swept = bench.file(case).case
    assert (swept.state, swept.approval.limited_by) == (CaseState.REFRESH_DUE, "authenticator_loss")
    assert sweep_kyc_cases(bench.desk).moved == 0


def test_an_organisation_that_is_no_longer_verified_asks_for_a_refresh_of_its_people(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.approve(case)
    bench.later(DAY)
    import_organisation(bench.embedded, verifications=[])
    sweep_kyc_cases(bench.desk)
    assert bench.file(case).case.state is CaseState.REFRESH_DUE


def test_steps_of_another_case_record_nothing_about_what_stands(bench):
    anna = bench.applicant()
    anna.complete(level=Level.C1)
    bench.screen(anna.case)
    bench.rate(anna.case)
    bench.decide(anna.case)
    granted = bench.state.subjects[anna.subject].clearance
    anna.open(level=Level.C2)
    anna.attest()
    before = bench.state.position
    anna.submit()
    assert bench.state.position == before + 2
    assert bench.state.subjects[anna.subject].clearance is granted


def test_a_refused_person_can_go_and_is_erased(bench):
    anna = bench.applicant()
    anna.complete()
    bench.screen(anna.case)
    bench.rate(anna.case)
    bench.decide(anna.case, Outcome.REJECTED)
    state, receipt = withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    assert state is CaseState.WITHDRAWN
    assert receipt.erased
