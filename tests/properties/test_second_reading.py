"""The core against a second reading of the domain's words in plain Cedar: same outcome, same codes, same order.

20,000 questions in sixteen parts, so that workers share them. What is expected comes from `domain_rules.cedar` alone.
"""

from collections import Counter

import pytest
from tests.support.cedar_reading import CODES, Reading
from tests.support.drawn_worlds import NOW, Dice, asked_of_the_core, draw, draw_question, told_to_the_core

from safeconduct.decision import evaluation
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.decision.rules import NOT_YET_EMITTED
from safeconduct.kernel.vocabulary import Code

PARTS = 16
WORLDS = 250
QUESTIONS = 5
# A part's share of 50 in all.
AT_LEAST = 4
# Given by the gateway before anything is decided.
BY_THE_GATEWAY = {Code.ROUTE_UNKNOWN, Code.AUDIT_UNAVAILABLE, Code.STATE_STALE}
# Given by a pack alone, once what it reads was imported.
BY_A_PACK = {Code.COUNTRY_EMBARGO}


def told(decision):
    return () if isinstance(decision, Permit) else tuple(code.value for code in decision.codes)


def questions(seed, worlds, packs):
    """Worlds with questions and what the second reading answers."""
    for number in range(worlds):
        dice = Dice(f"{seed}/{number}")
        found = draw(dice)
        state = told_to_the_core(found, packs=packs).state
        reading = Reading(found)
        for _ in range(QUESTIONS):
            facts = draw_question(dice, found)
            yield number, facts, asked_of_the_core(found, facts), state, reading.codes(facts)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_core_and_a_second_reading_agree(part, record_property):
    counts = Counter()
    differing = []
    # The core denies the same with and without packs: they cite.
    for number, facts, request, state, expected in questions(part, WORLDS, packs=part % 2 == 0):
        counts["asked"] += 1
        counts["permitted"] += not expected
        counts.update(expected)
        answered = told(decide(request, state, NOW))
        if answered != expected:
            differing.append((number, facts, "expected", expected, "answered", answered))
    print(dict(counts.most_common()))
    record_property("second_reading", dict(counts))
    assert not differing, (len(differing), differing[:3])
    assert counts["asked"] == WORLDS * QUESTIONS
    assert counts["permitted"] >= 0.3 * counts["asked"], counts
    assert {code: counts[code] for code in CODES if counts[code] < AT_LEAST} == {}


def test_the_second_reading_knows_every_code_that_the_core_emits_in_its_order():
    emitted = [code.value for code in Code if code not in NOT_YET_EMITTED | BY_THE_GATEWAY | BY_A_PACK]
    assert list(dict.fromkeys(CODES)) == emitted


def test_leaving_out_any_check_of_the_core_is_noticed(monkeypatch):
    asked = [
        (request, state, expected)
        for _, _, request, state, expected in questions("left out", 250, packs=False)
    ]
    # Packs say again what the core says: without one there is nothing for this check to do.
    whole = [check for check in evaluation.CHECKS if check.__name__ != "check_packs"]
    assert len(whole) >= len(evaluation.CHECKS) - 1
    for left_out in whole:
        monkeypatch.setattr(evaluation, "CHECKS", tuple(one for one in whole if one is not left_out))
        unnoticed = all(told(decide(request, state, NOW)) == expected for request, state, expected in asked)
        assert not unnoticed, left_out.__name__
