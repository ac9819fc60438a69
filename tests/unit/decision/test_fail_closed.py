"""An error anywhere denies, and nothing that is withheld leaks."""

import msgspec
import pytest
from immutables import Map
from tests.support.worlds import DAY, World, order, plain_world

from safeconduct.decision import evaluation
from safeconduct.decision.cache import DecisionCache
from safeconduct.decision.evaluation import CHECKS, decide
from safeconduct.decision.explanation import RESTRICTED, describe, told, told_codes
from safeconduct.decision.impact import preview
from safeconduct.decision.response import Deny, Permit
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.vocabulary import Code, Screening, SubjectKind, UsPerson, Visibility
from safeconduct.policy.packs import load_shipped
from safeconduct.record.events import PackStatusChanged, SubjectScreened


@pytest.mark.parametrize("position", range(len(CHECKS)), ids=[check.__name__ for check in CHECKS])
def test_an_exception_in_any_check_denies_and_the_others_still_run(position, monkeypatch):
    def broken(inquiry):
        raise RuntimeError("secret detail")

    world = plain_world()
    world.passport_status("ann")
    checks = list(CHECKS)
    checks[position] = broken
    monkeypatch.setattr(evaluation, "CHECKS", tuple(checks))
    decision = decide(world.request("ann", "model-x"), world.state, world.now)
    assert isinstance(decision, Deny)
    assert "core.check_failed" in [one.rule for one in decision.reasons]
    assert "secret" not in str(decision)
    assert decision.valid_until == world.now + 1
    if position:
        assert decision.codes[0] == Code.PASSPORT_REVOKED


def test_a_state_that_cannot_be_read_denies():
    world = plain_world()
    broken = msgspec.structs.replace(world.state, variants=None)
    assert isinstance(decide(world.request("ann", "model-x"), broken, world.now), Deny)
    broken = msgspec.structs.replace(world.state, grants=Map())
    assert decide(world.request("ann", "model-x"), broken, world.now).codes == (Code.GRANT_MISSING,)


def _with_pack(policies, **facts):
    world = World(packs=False)
    built = plain_world()
    world.events, world.claims, world.now = list(built.events), built.claims, built.now
    pack = load_shipped()[0]
    world.add(
        msgspec.structs.replace(
            pack,
            pack="test.pack",
            policies=policies,
            sha256=sha256_hex(policies.encode()),
            parameters={"scope": "every_request"},
            **facts,
        )
    )
    return world


FORBID = '@id("test.pack/x") @code("DIRECTIVE") @source("s") @detail("d") @remedy("r")\nforbid (principal, action, resource) when {{ {} }};'


def test_what_a_pack_forbids_is_denied_though_the_core_found_nothing():
    world = _with_pack(FORBID.format("context.required_level == 2"))
    decision = decide(world.request("ann", "model-x"), world.state, world.now)
    assert decision.codes == (Code.DIRECTIVE,)
    assert decision.reasons[0].rule == "test.pack/x"


@pytest.mark.parametrize(
    "policies",
    [
        FORBID.format("context.no_such_fact"),
        FORBID.format('context.ial < "x"'),
        FORBID.format('principal in Subject::"nobody" && resource.level == 1 || principal.missing == 1'),
        "not cedar",
        "forbid (principal, action, resource);",
    ],
)
def test_a_pack_that_fails_denies(policies):
    world = _with_pack(policies)
    decision = decide(world.request("ann", "model-x"), world.state, world.now)
    assert isinstance(decision, Deny)
    assert decision.reasons[0].rule == "core.policy_failed"


def test_a_pack_cannot_permit_what_the_core_denies():
    world = _with_pack("permit (principal, action, resource);")
    world.passport_status("ann")
    assert Code.PASSPORT_REVOKED in decide(world.request("ann", "model-x"), world.state, world.now).codes


@pytest.mark.parametrize("status", ["draft", "suspended", "rescinded"])
def test_a_pack_that_is_not_active_never_denies(status):
    world = _with_pack(FORBID.format("true"), status=status)
    assert isinstance(decide(world.request("ann", "model-x"), world.state, world.now), Permit)


def test_a_pack_acts_between_its_dates_and_the_decision_lapses_at_them():
    world = _with_pack(FORBID.format("true"))
    first, last = world.now + DAY, world.now + 2 * DAY
    world.add(
        msgspec.structs.replace(world.events[-1], version="2", effective_from=first, effective_until=last),
        PackStatusChanged(pack="test.pack", version="1", status="rescinded", by="op", at=world.now),
    )
    request = world.request("ann", "model-x")
    before = decide(request, world.state, world.now)
    assert isinstance(before, Permit)
    assert before.valid_until == first
    during = decide(request, world.state, first)
    assert isinstance(during, Deny)
    assert during.valid_until == last
    assert isinstance(decide(request, world.state, last), Permit)


def _restricted_answers():
    """Denials under two causes that must not be known: a possible list match, and a confidential order."""
    listed = plain_world()
    listed.add(
        SubjectScreened(
            subject="ann", screening=Screening.POSSIBLE, screened_at=listed.start, list_digests=()
        )
    )
    matched = plain_world()
    matched.organisation("org-a", screening=Screening.MATCH)
    ordered = plain_world()
    ordered.order(
        "1",
        "licence_required",
        ["model-x"],
        ordered.now,
        visibility=Visibility.CONFIDENTIAL,
        packs=("us.is_informed.2026",),
    )
    foreign = plain_world()
    foreign.person("ann", "org-a", us_person=UsPerson.UNDECLARED)
    foreign.order(
        "1",
        "suspend",
        ["model-x"],
        ordered.now,
        {"us_person": "no"},
        visibility=Visibility.CLASSIFIED,
        except_=({"organisation": {"in": "annex:a"}},),
        annexes={"a": ["org-z"]},
    )
    owned = plain_world()
    owned.owned("org-a", Outcome.BLOCKED)
    escalated = plain_world()
    escalated.owned("org-a", Outcome.UNKNOWN, regime="us.bis.affiliates")
    escalated.owned("org-a", Outcome.UNKNOWN, regime="uk.own")
    for world in (listed, matched, ordered, foreign, owned, escalated):
        yield decide(world.request("ann", "model-x"), world.state, world.now)


def test_answers_under_different_withheld_causes_are_byte_equal():
    answers = list(_restricted_answers())
    assert all(isinstance(one, Deny) for one in answers)
    assert len({msgspec.json.encode(told(one)) for one in answers}) == 1
    assert told(answers[0]) == (RESTRICTED,)
    assert told_codes(answers[0]) == (Code.ACCESS_RESTRICTED,)
    for one in answers:
        assert "sample" not in " ".join(describe(one)).lower()


def test_the_true_reason_stays_in_the_decision():
    assert next(_restricted_answers()).codes == (Code.LIST_POSSIBLE,)


def test_open_reasons_are_told_beside_the_restricted_one():
    world = plain_world()
    world.organisation("org-a", screening=Screening.MATCH).passport_status("ann")
    denial = decide(world.request("ann", "model-x"), world.state, world.now)
    assert told_codes(denial) == (Code.ACCESS_RESTRICTED, Code.PASSPORT_REVOKED)


def test_the_cache_answers_as_decide_does_and_forgets_with_the_state_and_the_clock():
    world = plain_world()
    cache = DecisionCache(10)
    request = world.request("ann", "model-x")
    state = world.state
    first = cache.decide(request, state, world.now)
    assert cache.decide(msgspec.structs.replace(request), state, world.now + 1) is first
    assert (cache.hits, cache.misses) == (1, 1)
    revoked = world.passport_status("ann").state
    assert cache.decide(request, revoked, world.now).codes == (Code.PASSPORT_REVOKED,)
    assert isinstance(cache.decide(request, state, world.now), Permit)
    assert isinstance(cache.decide(request, state, first.valid_until), Deny)
    assert isinstance(cache.decide(request, state, world.now), Permit)


def test_the_cache_keeps_no_more_than_its_limit():
    world = plain_world()
    cache = DecisionCache(3)
    for number in range(10):
        cache.decide(world.request("ann", "model-x", authenticated_at=number), world.state, world.now)
    assert len(cache) == 3


def test_a_preview_counts_who_loses_and_who_keeps():
    world = plain_world()
    world.person("eva", "org-a", us_person=UsPerson.NO).admit("lab", "org-a", ["eva"], ["model-x"])
    world.person("out", "org-a")
    world.variant("model-y", "lab").admit("lab", "org-a", ["eva"], ["model-y"])
    questions = [
        world.request(subject, variant)
        for subject in ("ann", "eva", "out")
        for variant in ("model-x", "model-y")
    ]
    candidate = world.fork(order("1", "suspend", ["model-x"], world.now + DAY, {"us_person": "no"}))
    impact = preview(world.state, candidate, questions, world.now + DAY)
    assert (impact.loses, impact.keeps, impact.gains, impact.untouched) == (("eva",), ("ann",), (), ("out",))
    assert impact.counts == {"loses": 1, "keeps": 1, "gains": 0, "untouched": 1}
    (change,) = impact.changes
    assert (change.subject, change.variant, change.codes) == ("eva", "model-x", (Code.DIRECTIVE,))
    assert preview(world.state, candidate, questions, world.now).loses == ()
    lifted = preview(candidate, world.state, questions, world.now + DAY)
    assert (lifted.gains, lifted.loses) == (("eva",), ())


def test_an_order_about_agents_spares_their_humans():
    world = plain_world()
    world.agent("bot", "ann", "org-a").mandate("m-1", "bot", "ann", ["model-x"])
    world.order("1", "suspend", ["model-x"], world.now, {"subject_kind": "agent"})
    asked = world.request("bot", "model-x", holder="ann", kind=SubjectKind.AGENT, mandates=("m-1",))
    assert isinstance(decide(world.request("ann", "model-x"), world.state, world.now), Permit)
    assert decide(asked, world.state, world.now).codes == (Code.DIRECTIVE,)
