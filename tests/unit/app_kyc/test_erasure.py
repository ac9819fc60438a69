"""Erasure: the key goes, the record stays verifiable, a hold waits, the law's part stays for its term, a backup brings nothing back."""

import contextlib

import pytest
from tests.support.instances import adjudicator, operator
from tests.support.kyc import DAY, KycBench

from safeconduct.app.erase_subject import ChangeLegalHold, change_legal_hold, erase_subject
from safeconduct.app.kyc_files import CASES, KEPT, PEOPLE, kept_subject
from safeconduct.app.sweep_kyc_cases import sweep_kyc_cases
from safeconduct.app.withdraw_kyc_case import withdraw_kyc_case
from safeconduct.audit.fsck import verify
from safeconduct.bootstrap import open_instance
from safeconduct.identity.kyc_fields import kyc_fields
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound, VerificationFailed
from safeconduct.kernel.vocabulary import CaseState, ClearanceState, PassportStatus
from safeconduct.maintenance import back_up, put_back
from safeconduct.storage.log_files import FileLogDirectory


@contextlib.contextmanager
def _quiet(_title):
    yield lambda done, total: None


def reopen(bench):
    bench.embedded.opened = open_instance(bench.embedded.settings, clock=bench.clock)
    bench.build()


def _approved(bench):
    anna = bench.applicant()
    anna.complete()
    bench.approve(anna.case)
    return anna, anna.collect().passport, anna.subject


def test_withdrawal_erases_and_the_receipt_lists_what_the_law_keeps(bench):
    anna, passport, subject = _approved(bench)
    state, receipt = withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    assert state is CaseState.WITHDRAWN
    assert receipt.erased
    kept = {one.field: one for one in receipt.retained}
    by_law = {field.field: field for field in kyc_fields() if field.kept_days}
    assert {"legal_name", "screening", "decision", "citizenships"} <= set(kept) <= set(by_law)
    assert all(one.source == by_law[name].kept_source for name, one in kept.items())
    assert kept["legal_name"].until == bench.now + by_law["legal_name"].kept_days * DAY
    assert {"document", "email", "address", "birth_date"} <= set(receipt.deleted)
    assert bench.state.passports[passport].status is PassportStatus.INVALID
    assert bench.state.subjects[subject].clearance.state is ClearanceState.EXPIRED
    assert bench.state.erased[subject].receipt
    with pytest.raises(NotFound):
        bench.file(anna.case)
    with pytest.raises(NotFound):
        bench.embedded.opened.subject_keys.aead(subject)


def test_nothing_of_the_person_is_left_in_any_file_in_the_clear(bench):
    anna, _, _ = _approved(bench)
    withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    bench.embedded.close()
    for path in bench.embedded.settings.data.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in (
                b"Anna",
                b"ANNA",
                b"Specimen",
                b"SPECIMEN",
                b"somebody@example.org",
                b"Sample Street",
            ):
                assert secret not in data, path
    reopen(bench)


def test_the_record_verifies_after_an_erasure(bench):
    anna, _, _ = _approved(bench)
    withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    verifier = bench.embedded.opened.record_log.verifier
    bench.embedded.close()
    report = verify(FileLogDirectory(bench.embedded.settings.record_log).read, verifier)
    assert report.ok, report.problems
    reopen(bench)


def test_a_legal_hold_makes_an_erasure_wait_and_its_end_carries_it_out(bench):
    anna, _, subject = _approved(bench)
    with pytest.raises(Forbidden):
        change_legal_hold(bench.desk, operator(), subject, ChangeLegalHold("matter-17"))
    change_legal_hold(bench.desk, adjudicator(), subject, ChangeLegalHold("matter-17"))
    receipt = erase_subject(bench.desk, operator(), subject)
    assert (receipt.erased, receipt.held_for, receipt.deleted) == (False, ("matter-17",), ())
    assert bench.file(anna.case).person.application is not None
    assert sweep_kyc_cases(bench.desk).erased == 0
    change_legal_hold(bench.desk, adjudicator(), subject, ChangeLegalHold("matter-17", held=False))
    assert sweep_kyc_cases(bench.desk).erased == 1
    with pytest.raises(NotFound):
        bench.file(anna.case)


def test_a_hold_for_one_matter_is_not_ended_by_the_end_of_another(bench):
    anna, _, subject = _approved(bench)
    for matter in ("matter-1", "matter-2"):
        change_legal_hold(bench.desk, adjudicator(), subject, ChangeLegalHold(matter))
    change_legal_hold(bench.desk, adjudicator(), subject, ChangeLegalHold("matter-1", held=False))
    assert erase_subject(bench.desk, operator(), subject).held_for == ("matter-2",)
    with pytest.raises(Conflict):
        change_legal_hold(bench.desk, adjudicator(), subject, ChangeLegalHold("matter-1", held=False))
    assert bench.file(anna.case)


def test_what_the_law_keeps_goes_when_its_term_is_over(bench):
    anna, _, subject = _approved(bench)
    withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    vault = bench.instance.vault
    first = vault.get(KEPT, subject)
    assert b"Anna Specimen Example" in first
    bench.later(6 * 366 * DAY)
    sweep_kyc_cases(bench.desk)
    assert b'"decision"' in first
    assert b'"decision"' not in vault.get(KEPT, subject)
    assert b'"screening"' in vault.get(KEPT, subject)
    bench.later(5 * 366 * DAY)
    sweep_kyc_cases(bench.desk)
    assert vault.get(KEPT, subject) is None
    with pytest.raises(NotFound):
        bench.embedded.opened.subject_keys.aead(kept_subject(subject))


def test_somebody_who_never_handed_in_leaves_nothing_behind(bench):
    anna = bench.applicant()
    anna.open()
    anna.state()
    subject = anna.subject
    position = bench.state.position
    _, receipt = withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    assert receipt.retained == ()
    assert bench.state.kyc_cases.get(anna.case) is None
    assert bench.state.position == position + 1
    assert bench.instance.vault.get(KEPT, subject) is None


def test_a_draft_nobody_finishes_is_deleted_after_sixty_days(bench):
    anna = bench.applicant()
    anna.open()
    anna.state()
    bench.later(61 * DAY)
    sweep_kyc_cases(bench.desk)
    assert bench.instance.vault.names(PEOPLE) == []
    assert bench.instance.vault.names(CASES) == []


def test_a_restored_backup_keeps_the_erased_erased(tmp_path):
    bench = KycBench(tmp_path)
    anna, _, subject = _approved(bench)
    bruno = bench.applicant("Bruno Specimen Example")
    bruno.complete()
    bench.embedded.close()
    settings = bench.embedded.settings
    backup = tmp_path / "backup.tar"
    back_up(settings, backup, progress=_quiet, settle=lambda: None)
    reopen(bench)
    withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    bench.embedded.close()
    # The older backup would undo the withdrawal, and is refused: its record is shorter than the one that was signed.
    with pytest.raises(VerificationFailed):
        put_back(settings, backup, known=[], replace=True, progress=_quiet)
    newer = tmp_path / "newer.tar"
    back_up(settings, newer, progress=_quiet, settle=lambda: None)
    restored = put_back(settings, newer, known=[], replace=True, progress=_quiet)
    assert restored.erased == 1
    reopen(bench)
    with pytest.raises(NotFound):
        bench.file(anna.case)
    assert bench.file(bruno.case).person.application is not None
    keys = bench.embedded.opened.subject_keys
    with pytest.raises(NotFound):
        keys.aead(subject)
    bench.close()


def test_the_record_erases_again_what_an_older_store_brought_back(bench, monkeypatch):
    anna, _, subject = _approved(bench)
    monkeypatch.setattr(type(bench.instance.vault), "forget", lambda vault, who: None)
    erase_subject(bench.desk, operator(), subject)
    monkeypatch.undo()
    # The store as an older backup would have it: person, case and key are there; the record says they are erased.
    assert bench.file(anna.case)
    assert sweep_kyc_cases(bench.desk).erased == 1
    with pytest.raises(NotFound):
        bench.file(anna.case)
