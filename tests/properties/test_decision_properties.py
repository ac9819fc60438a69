"""What holds of every decision, whatever the world: monotone orders, exact lifetimes, one fold."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.worlds import World, order

from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.vocabulary import (
    Compartment,
    Level,
    PassportStatus,
    Screening,
    Stage,
    SubjectKind,
    UsPerson,
)
from safeconduct.record.events import DeploymentRetired, GrantEnded, LicenceEnded, decode, encode
from safeconduct.record.state import State, fold

PROFILE = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
VARIANTS = ("model-x", "model-y")
SPAN = 40
times = st.integers(0, SPAN)

facts = st.sampled_from(
    [
        {"us_person": "no"},
        {"us_person": "yes"},
        {"citizenship": {"in": ["AA"]}},
        {"organisation": {"in": "annex:a"}},
        {"organisation": {"in": "list:l"}},
        {"employee_of_provider": True},
        {"subject_kind": "human"},
        {"location": {"in": ["AA"]}},
        {"deemed_export": {"in": ["AA"]}},
        {"deemed_export": {"in": ["BB"]}, "regime": "itar"},
        {"all": []},
    ]
)
predicates = st.recursive(
    facts,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=4,
)
organisations = st.lists(st.sampled_from(["org-a", "org-b", "org-lab", "org-none"]), max_size=2, unique=True)


@st.composite
def orders(draw, number, kinds, amends=()):
    begin = draw(times)
    return order(
        str(number),
        draw(st.sampled_from(kinds)),
        draw(st.lists(st.sampled_from(VARIANTS), min_size=1, max_size=2, unique=True)),
        begin,
        draw(predicates),
        except_=tuple(draw(st.lists(predicates, max_size=2))),
        amends=amends,
        annexes={"a": draw(organisations)},
        effective_until=draw(st.one_of(st.none(), st.integers(begin + 1, SPAN + 1))),
        packs=draw(
            st.sampled_from(
                [
                    (),
                    ("us.is_informed.2026",),
                    ("us.deemed_export",),
                    ("us.deemed_export", "us.is_informed.2026"),
                ]
            )
        ),
    )


RESTRICTING = ("licence_required", "suspend", "restrict_to_list")


@st.composite
def order_sequences(draw):
    count = draw(st.integers(0, 3))
    found = [draw(orders(number, RESTRICTING)) for number in range(count)]
    for number in range(count, count + draw(st.integers(0, 3))):
        earlier = [one.number for one in found]
        if not earlier:
            break
        named = draw(st.lists(st.sampled_from(earlier), min_size=1, max_size=2, unique=True))
        found.append(draw(orders(number, ("partially_authorise", "rescind"), amends=tuple(named))))
    return found


@st.composite
def worlds(draw):
    """A world whose every instant lies in [0, SPAN], so that many things begin and end within it."""
    world = World(start=0, end=SPAN + 100)
    world.provider("lab").organisation(
        "org-a",
        screening=draw(st.sampled_from([Screening.CLEAR, Screening.CLEAR, Screening.POSSIBLE])),
        verified_until=draw(st.integers(SPAN // 2, SPAN + 5)),
    )
    world.organisation("org-b")
    world.org_list(
        "l", draw(organisations), valid_from=draw(times), valid_until=draw(st.one_of(st.none(), times))
    )
    world.variant(
        "model-x",
        "lab",
        level=Level.C3,
        compartments=(Compartment.CYB,),
        terms=draw(st.sampled_from([None, "t"])),
        certifications=draw(st.sampled_from([(), ("cert",)])),
    )
    world.certification("model-x-1", "cert", draw(st.integers(0, 5)), draw(times))
    stage = draw(st.sampled_from([Stage.GENERAL, Stage.VERIFIED, Stage.GOVERNMENT_APPROVED_ORGANISATIONS]))
    world.variant("model-y", "lab", level=Level.C2, stage=stage, org_list="l")
    for subject in ("ann", "eva"):
        world.person(
            subject,
            "org-a",
            us_person=draw(st.sampled_from(list(UsPerson))),
            citizenships=draw(st.sampled_from([None, ("AA",), ("BB",)])),
            evidence_expires=draw(st.integers(SPAN // 2, SPAN + 5)),
            clearance_until=draw(st.integers(SPAN // 2, SPAN + 5)),
        )
        world.terms(subject, "t", until=draw(st.one_of(st.none(), times)))
        world.project(
            f"proj-{subject}",
            "org-a",
            valid_from=draw(st.integers(0, 5)),
            valid_until=draw(st.integers(20, 45)),
        )
        for _ in range(draw(st.integers(1, 2))):
            world.admit(
                "lab",
                "org-a",
                [subject],
                VARIANTS,
                valid_from=draw(st.integers(0, 10)),
                valid_until=draw(st.integers(10, 50)),
            )
    if draw(st.booleans()):
        ended = draw(st.sampled_from(sorted(world.state.grants)))
        world.add(GrantEnded(grant=ended, by="x", at=draw(times)))
    if draw(st.booleans()):
        world.add(DeploymentRetired(deployment="model-y-1", at=draw(times)))
    for number in range(draw(st.integers(0, 2))):
        begin = draw(times)
        world.licence(
            f"l-{number}",
            VARIANTS,
            annex=draw(organisations),
            classes=draw(st.sampled_from([(), ("foreign_national",), ("us_person",)])),
            valid_from=begin,
            valid_until=begin + draw(st.integers(1, 20)),
        )
        if draw(st.booleans()):
            world.add(LicenceEnded(licence=f"l-{number}", by="x", at=draw(times)))
    world.agent("bot", "eva", "org-a")
    begin = draw(st.integers(0, 10))
    world.mandate(
        "m",
        "bot",
        "eva",
        VARIANTS,
        valid_from=begin,
        valid_until=begin + draw(st.integers(1, 40)),
        signed_at=begin,
    )
    if draw(st.integers(0, 5)) == 0:
        world.passport_status("ann", PassportStatus.SUSPENDED)
    return world.add(*draw(order_sequences()))


def questions(world):
    for variant in VARIANTS:
        for subject in ("ann", "eva"):
            yield world.request(subject, variant, project=f"proj-{subject}", location="AA")
        yield world.request(
            "bot",
            variant,
            holder="eva",
            kind=SubjectKind.AGENT,
            mandates=("m",),
            project="proj-eva",
            authenticated_at=0,
        )


@settings(PROFILE, max_examples=25)
@given(worlds())
def test_a_decision_holds_until_its_valid_until(world):
    state = world.state
    for request in questions(world):
        now = 0
        while now <= SPAN + 60:
            decision = decide(request, state, now)
            assert decision.valid_until > now
            for later in range(now, min(decision.valid_until, SPAN + 60)):
                assert decide(request, state, later) == decision
            now = decision.valid_until


@PROFILE
@given(worlds(), orders("new", RESTRICTING), times)
def test_a_further_restricting_order_never_permits_more(world, further, now):
    restricted = world.fork(further)
    for request in questions(world):
        if isinstance(decide(request, restricted, now), Permit):
            assert isinstance(decide(request, world.state, now), Permit)


@PROFILE
@given(worlds(), st.data(), times)
def test_an_amendment_or_rescission_changes_only_the_directives_it_names(world, data, now):
    state = world.state
    named = [one.imported.number for one in state.directives.values()]
    if not named:
        return
    target = data.draw(st.sampled_from(sorted(named)))
    further = data.draw(orders("new", ("partially_authorise", "rescind"), amends=(target,)))
    after = world.fork(further)
    touched = {f"authority:sample/{target}/1"}
    # What the named directive itself amends or ends may come back or lapse with it; nothing else may move.
    reached = set(touched)
    for directive in touched:
        reached |= set(state.directives[directive].imported.amends)
        for above in state.directives[directive].imported.amends:
            reached |= set(state.directives[above].imported.amends)
    for request in questions(world):
        before, then = decide(request, state, now), decide(request, after, now)
        untouched = [
            [
                (one.code, one.directive)
                for one in getattr(decision, "reasons", ())
                if one.directive is None or one.directive not in reached
            ]
            for decision in (before, then)
        ]
        assert untouched[0] == untouched[1]


@PROFILE
@given(worlds())
def test_a_grant_expires(world):
    # Every grant in these worlds has ended by then.
    for request in questions(world):
        assert not isinstance(decide(request, world.state, 60), Permit)


@PROFILE
@given(worlds())
def test_events_survive_encoding_and_fold_to_the_same_state(world):
    again = [decode(encode(event)) for event in world.events]
    assert again == world.events
    assert [encode(event) for event in again] == [encode(event) for event in world.events]
    assert fold(again) == world.state


@PROFILE
@given(worlds(), st.data())
def test_folding_in_pieces_equals_folding_at_once(world, data):
    whole = fold(world.events)
    cut = data.draw(st.integers(0, len(world.events)))
    first = fold(world.events[:cut])
    kept = fold(world.events[:cut])
    assert fold(world.events[cut:], first) == whole
    # Folding on leaves the earlier state as it was.
    assert first == kept
    assert whole.position == len(world.events)
    stepped = State.empty()
    for position, event in enumerate(world.events, start=1):
        stepped = stepped.apply(event, position)
    assert stepped == whole


@PROFILE
@given(worlds())
def test_the_indexes_equal_those_built_from_the_things_themselves(world):
    state = world.state
    grants = {}
    licences = {}
    ordered = {}
    for name, held in state.grants.items():
        given_ = held.given
        for variant in given_.variants:
            if given_.to_subject:
                key = ("subject", given_.to_subject, variant)
            elif given_.to_group:
                key = ("group", (given_.by_organisation, given_.to_group), variant)
            else:
                key = ("organisation", given_.to_organisation, variant)
            grants.setdefault(key, set()).add(name)
    for name, held in state.licences.items():
        for variant in held.given.variants:
            licences.setdefault(variant, set()).add(name)
    for name, held in state.directives.items():
        if held.imported.kind in RESTRICTING:
            for variant in held.imported.variants:
                ordered.setdefault(variant, set()).add(name)
    assert {key: set(value) for key, value in state.grants_to.items()} == grants
    assert {key: set(value) for key, value in state.licences_for.items()} == licences
    assert {key: set(value) for key, value in state.orders_on.items()} == ordered
