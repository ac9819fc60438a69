from __future__ import annotations

import pytest

from safeconduct.kernel.errors import Conflict, Forbidden
from safeconduct.kernel.vocabulary import Stage, Standing
from safeconduct.registry.release import STAGES, adopted, check_stage, check_standing

LOOKED = ["a finding"]


def test_a_stage_moves_one_step_forward_and_one_step_back_only():
    for place, current in enumerate(STAGES):
        for other, target in enumerate(STAGES):
            if abs(place - other) == 1:
                check_stage(current, target, findings=LOOKED, org_list=None)
            else:
                with pytest.raises(Conflict) as caught:
                    check_stage(current, target, findings=LOOKED, org_list=None)
                assert caught.value.field == "stage"


def test_no_gate_opens_without_findings_and_every_way_back_is_open():
    for before, after in zip(STAGES, STAGES[1:], strict=False):
        with pytest.raises(Conflict) as caught:
            check_stage(before, after, findings=[], org_list=None)
        assert "findings" in caught.value.message
        check_stage(after, before, findings=[], org_list=None)


def test_a_list_is_named_only_where_it_means_something():
    check_stage(Stage.TRUSTED_PREVIEW, Stage.GOVERNMENT_APPROVED_ORGANISATIONS, findings=LOOKED, org_list="l")
    with pytest.raises(Conflict) as caught:
        check_stage(Stage.VERIFIED, Stage.GENERAL, findings=LOOKED, org_list="l")
    assert caught.value.field == "org_list"


def test_retired_is_final_and_what_was_withdrawn_comes_back_through_suspended():
    for target in Standing:
        with pytest.raises(Conflict):
            check_standing(Standing.RETIRED, target, cohort=None)
    with pytest.raises(Conflict):
        check_standing(Standing.WITHDRAWN, Standing.ACTIVE, cohort=None)
    check_standing(Standing.WITHDRAWN, Standing.SUSPENDED, cohort=None)
    check_standing(Standing.SUSPENDED, Standing.ACTIVE, cohort=None)


def test_a_cohort_is_named_exactly_when_one_is_restored():
    check_standing(Standing.SUSPENDED, Standing.COHORT_RESTORED, cohort="l")
    for target, cohort in ((Standing.COHORT_RESTORED, None), (Standing.ACTIVE, "l")):
        with pytest.raises(Conflict) as caught:
            check_standing(Standing.SUSPENDED, target, cohort=cohort)
        assert caught.value.field == "cohort"


def test_only_what_no_provider_here_and_no_order_has_a_say_in_is_adopted_and_then_it_is_general():
    assert adopted(provider="maker", speaks_here=False, orders=()) is Stage.GENERAL
    for speaks_here, orders, error, field in (
        (True, (), Forbidden, "provider"),
        (True, ("authority:a/1/1",), Forbidden, "provider"),
        (False, ("authority:a/1/1",), Conflict, "variant"),
    ):
        with pytest.raises(error) as caught:
            adopted(provider="maker", speaks_here=speaks_here, orders=orders)
        assert caught.value.field == field
