"""A chain of grants resolved once answers exactly as the walk through its links does."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.worlds import plain_world

from safeconduct.decision import access_checks
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.vocabulary import Condition, Purpose, Surface
from safeconduct.record.events import GrantEnded

NAMES = ("g1", "g2", "g3", "g4", "g5")
SPAN = 6


def mostly(usual, *others):
    return st.sampled_from([usual] * 12 + list(others))


variants = mostly(("model-x",), ("model-x", "model-y"), ("model-y",))
grantors = st.sampled_from(
    [("lab", None), ("lab", None), ("other-lab", None), (None, "org-a"), (None, "org-a"), (None, "org-b")]
)
grantees = st.sampled_from(["organisation", "organisation", "other", "subject", "subject", "group"])


@st.composite
def grants(draw, name, purposes):
    by_provider, by_organisation = draw(grantors)
    to = draw(grantees)
    parent = draw(st.sampled_from((None, *NAMES)))
    if draw(mostly(True, False)):
        # Mostly of a shape that can hold: the first from the provider, the others below those before them.
        by_provider, by_organisation = ("lab", None) if name == "g1" else (None, "org-a")
        to = "organisation" if name == "g1" else draw(st.sampled_from(["subject", "group", "organisation"]))
        parent = None if name == "g1" else draw(st.sampled_from(NAMES[: NAMES.index(name)]))
    begin = draw(mostly(0, 1, 2))
    return {
        "name": name,
        "variants": draw(variants),
        "by_provider": by_provider,
        "by_organisation": by_organisation,
        "to_organisation": {"organisation": "org-a", "other": "org-b"}.get(to),
        "to_subject": "ann" if to == "subject" else None,
        "to_group": "team" if to == "group" else None,
        "parent": parent,
        "valid_from": begin,
        "valid_until": draw(st.integers(begin + 2, SPAN)),
        "purposes": draw(mostly(purposes, (Purpose.CRYPTO_RESEARCH,))),
        "surfaces": draw(mostly((Surface.API,), ())),
        "regions": draw(mostly((), ("r1",), ("r2",))),
        "conditions": draw(
            mostly((), tuple(one for one in Condition if one is not Condition.ENCLAVE), (Condition.ENCLAVE,))
        ),
    }


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_resolved_chain_answers_as_the_walk_through_its_links(data):
    built = plain_world()
    asked = built.request("ann", "model-x")
    world = plain_world()
    world.events = [one for one in world.events if type(one).__name__ != "GrantGiven"]
    world.group("org-a", "team", "ann")
    names = NAMES[: data.draw(st.integers(2, len(NAMES)))]
    for name in names:
        fields = data.draw(grants(name, (asked.purpose,)))
        for edge in ("valid_from", "valid_until"):
            fields[edge] += world.now
        world.grant(fields.pop("name"), fields.pop("variants"), **fields)
    if data.draw(mostly(False, True)):
        world.add(GrantEnded(grant=data.draw(st.sampled_from(names)), at=world.now + 1, by="op"))
    state = world.state
    for tick in range(SPAN + 1):
        fast = decide(asked, state, world.now + tick)
        slow = _walked(asked, state, world.now + tick)
        assert fast == slow


def _walked(asked, state, now):
    passes = access_checks._passes
    access_checks._passes = lambda *_: False
    try:
        return decide(asked, state, now)
    finally:
        access_checks._passes = passes


def test_a_chain_is_resolved_anew_when_a_link_ends():
    world = plain_world()
    asked = world.request("ann", "model-x")
    before = world.state
    permit = decide(asked, before, world.now)
    assert isinstance(permit, Permit)
    ended = world.add(GrantEnded(grant=permit.grants[-1], at=world.now, by="op")).state
    assert not isinstance(decide(asked, ended, world.now), Permit)
    assert decide(asked, before, world.now) == permit
