from __future__ import annotations

import base64
import json

import msgspec
import pytest
from tests.support.june import COLUMNS, TABLE
from tests.support.june_records import played
from tests.support.worlds import order

from safeconduct.decision.entry import COMPLETION_TYPE, DecisionRecord
from safeconduct.decision.evaluation import terminal
from safeconduct.decision.response import Deny
from safeconduct.inspection.explain import explain
from safeconduct.inspection.replay import replay
from safeconduct.kernel.errors import LogCorrupt
from safeconduct.kernel.vocabulary import Code
from safeconduct.record.envelope import open_body, open_entry, read_entry, sealed_entry, unsealed_part
from safeconduct.record.events import decode, encode
from safeconduct.record.events.authorizations import GrantGiven


@pytest.fixture(scope="module")
def june():
    return played()


def key_of(june):
    return june.instance.vault.aead


def rewritten(entries, change):
    """The record with every event passed through `change`, as who altered it would write it."""
    out = []
    for entry in entries:
        envelope = read_entry(entry)
        event = change(decode(open_body(envelope)))
        out.append(
            open_entry(
                encode(event),
                uid=envelope.uid,
                seq=envelope.seq,
                time_ms=envelope.time,
                type=envelope.type,
            )
        )
    return out


def test_every_decision_comes_out_the_same_from_the_logs_alone(june):
    report = replay(june.log, june.record_entries, key_of(june))
    assert report.clean
    assert (report.equal, report.total) == (len(COLUMNS) * len(TABLE), len(june.log))


def test_the_order_of_the_log_does_not_matter(june):
    assert replay(reversed(june.log), june.record_entries, key_of(june)).equal == len(june.log)


def test_one_altered_grant_names_exactly_the_decisions_it_changed(june):
    def alter(event):
        if isinstance(event, GrantGiven) and event.to_subject == "resident":
            return msgspec.structs.replace(event, purposes=("coding",))
        return event

    report = replay(june.log, rewritten(june.record_entries, alter), key_of(june))
    assert {one.decision for one in report.differs} == {f"{column} resident" for column in COLUMNS}
    assert all(isinstance(one.repeated, Deny) for one in report.differs)
    assert report.equal == len(june.log) - len(COLUMNS)


def test_a_rewritten_record_that_says_the_same_replays_the_same(june):
    assert replay(june.log, rewritten(june.record_entries, lambda event: event), key_of(june)).clean


def test_without_the_key_everything_is_sealed_and_nothing_equal(june):
    report = replay(june.log, june.record_entries, None)
    assert (report.sealed, report.equal) == (len(june.log), 0)


def test_a_destroyed_data_key_counts_as_erased_apart_from_what_differs(june):
    aead = key_of(june)
    report = replay(june.log, june.record_entries, lambda name: None if name == "misuse" else aead(name))
    assert (report.erased, report.equal) == (len(COLUMNS), len(june.log) - len(COLUMNS))
    assert report.clean


def test_the_vaults_own_refusal_of_an_erased_key_counts_as_erased():
    records = played()
    records.instance.vault.forget("misuse")
    assert replay(records.log, records.record_entries, records.instance.vault.aead).erased == len(COLUMNS)


def test_a_shorter_record_is_named_and_never_equal(june):
    report = replay(june.log, june.record_entries[:-1], key_of(june))
    assert not report.clean
    assert {one.decision.split()[0] for one in report.unreadable} == {"06-30"}


def test_a_record_whose_entries_are_out_of_order_or_altered_stops_the_replay(june):
    swapped = list(june.record_entries)
    swapped[5], swapped[6] = swapped[6], swapped[5]
    with pytest.raises(LogCorrupt):
        replay(june.log, swapped, key_of(june))
    altered = list(june.record_entries)
    altered[9] = altered[9].replace(b"org-", b"orq-")
    with pytest.raises(LogCorrupt):
        replay(june.log, altered, key_of(june))


def test_an_altered_decision_entry_is_unreadable_and_not_equal(june):
    document = json.loads(june.log[0])
    sealed = bytearray(base64.b64decode(document["sealed"]))
    sealed[20] ^= 1
    document["sealed"] = base64.b64encode(bytes(sealed)).decode()
    for entry in (json.dumps(document).encode(), b"{}", b"\xff"):
        report = replay([entry, *june.log[1:]], june.record_entries, key_of(june))
        assert (len(report.unreadable), report.equal) == (1, len(june.log) - 1)


def test_an_open_body_that_tells_another_outcome_than_the_sealed_part_is_found(june):
    place = next(n for n, entry in enumerate(june.log) if b'"outcome":"deny"' in entry)
    document = json.loads(june.log[place])
    document["body"]["outcome"], document["body"]["codes"] = "permit", []
    forged = json.dumps(document).encode()
    report = replay([*june.log[:place], forged, *june.log[place + 1 :]], june.record_entries, key_of(june))
    assert len(report.unreadable) == 1


def resealed(june, entry, change):
    """The entry with another sealed record, written by who holds the key."""
    envelope = read_entry(entry)
    aead = key_of(june)(envelope.key)
    record = change(msgspec.json.decode(unsealed_part(envelope, aead), type=DecisionRecord))
    body = json.loads(bytes(envelope.body))
    body["codes"] = [code.value for code in record.outcome.codes] if isinstance(record.outcome, Deny) else []
    return sealed_entry(
        msgspec.json.encode(record),
        aead=aead,
        key=envelope.key,
        uid=envelope.uid,
        seq=envelope.seq,
        time_ms=envelope.time,
        type=envelope.type,
        body=json.dumps(body).encode(),
    )


def test_a_forged_permit_differs(june):
    permit = next(e for e in june.log if b"06-11 annexed" in e)
    outcome = msgspec.json.decode(
        unsealed_part(read_entry(permit), key_of(june)("annexed")), type=DecisionRecord
    ).outcome
    place = next(n for n, e in enumerate(june.log) if read_entry(e).uid == "06-12 annexed")
    forged = resealed(june, june.log[place], lambda one: msgspec.structs.replace(one, outcome=outcome))
    report = replay([*june.log[:place], forged, *june.log[place + 1 :]], june.record_entries, key_of(june))
    assert [one.decision for one in report.differs] == ["06-12 annexed"]


def test_a_denial_from_before_the_rules_is_counted_apart(june):
    state = june.instance.record.state
    denied = terminal(Code.ROUTE_UNKNOWN, state, 0, detail="no such route")
    entry = resealed(june, june.log[0], lambda one: msgspec.structs.replace(one, outcome=denied))
    report = replay([entry], june.record_entries, key_of(june))
    assert (report.outside, report.equal, report.clean) == (1, 0, True)


def test_other_entries_of_the_log_are_passed_over(june):
    other = open_entry(b"{}", uid="x", seq=0, time_ms=0, type=COMPLETION_TYPE)
    assert replay([other], june.record_entries, key_of(june)).total == 0


def record_of(june, name):
    envelope = read_entry(next(e for e in june.log if read_entry(e).uid == name))
    return msgspec.json.decode(unsealed_part(envelope, key_of(june)(envelope.key)), type=DecisionRecord)


def test_an_explanation_goes_from_the_code_to_the_rule_to_the_order_and_its_digest(june):
    state = june.instance.record.state
    text = "\n".join(explain(record_of(june, "06-26 subsidiary"), state))
    assert text.index("ORG_NOT_LISTED") < text.index("LICENCE_MISSING")
    assert "remedy:" in text
    assert "Sample Act, section 1" in text
    assert "document SHA-256" in text


def test_an_explanation_of_a_permit_names_the_grants_it_rests_on(june):
    record = record_of(june, "06-11 citizen")
    text = "\n".join(explain(record))
    assert all(grant in text for grant in record.outcome.grants)


def test_an_explanation_names_the_agent_and_its_human(june):
    assert any("agent agent for annexed" in line for line in explain(record_of(june, "06-11 agent")))


def test_a_withheld_reason_is_shown_to_auditors_only(june):
    record = record_of(june, "06-12 annexed")
    hidden = msgspec.structs.replace(
        record.outcome.reasons[0], withheld=True, detail="what must not be known"
    )
    record = msgspec.structs.replace(
        record, outcome=msgspec.structs.replace(record.outcome, reasons=(hidden,))
    )
    state = june.instance.record.state
    assert "must not be known" not in "\n".join(explain(record, state))
    assert hidden.directive not in "\n".join(explain(record, state))
    assert "must not be known" in "\n".join(explain(record, state, withheld=True))


def test_an_order_that_reaches_back_changes_no_decision_already_made():
    records = played()
    past = records.june.at("2026-06-01")
    records.instance.record.commit([order("9", "suspend", [records.june.names["restricted"]], past)])
    assert records.ask(records.request("citizen", "restricted", "06-30"), "after") == "DIRECTIVE"
    report = replay(records.log, records.record_entries, records.instance.vault.aead)
    assert (report.clean, report.equal) == (True, len(records.log))
