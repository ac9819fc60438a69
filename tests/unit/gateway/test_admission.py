"""Who finds a place at a listener: in all, of one source, and in a TLS handshake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.admission import SOURCE, TOTAL, HandshakePlaces, Places, source_of


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(address, source):
    assert source_of(address) == source


def test_one_source_gets_its_share_and_others_the_rest():
    places = Places(5, 2)
    assert [places.take("a") for _ in range(3)] == [None, None, SOURCE]
    assert [places.take(one) for one in ("b", "b", "b", "c", "d")] == [None, None, SOURCE, None, TOTAL]
    # Whoever has too many of their own is told that, even when all places are taken.
    assert places.take("a") == SOURCE
    places.give_back("a")
    assert places.take("d") is None
    assert (places.taken, places.sources) == (5, 4)


def test_without_a_share_only_the_total_counts():
    places = Places(3)
    assert [places.take("a") for _ in range(4)] == [None, None, None, TOTAL]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_what_is_counted_is_what_is_held_and_nobody_is_remembered_who_holds_nothing(steps):
    places, held = Places(6, 3), {}
    for taking, source in steps:
        if taking:
            refused = places.take(source)
            full = sum(held.values()) >= 6
            assert (refused is None) == (held.get(source, 0) < 3 and not full)
            if refused is None:
                held[source] = held.get(source, 0) + 1
        elif held.get(source):
            places.give_back(source)
            held[source] -= 1
    assert places.taken == sum(held.values())
    assert places.sources == sum(1 for count in held.values() if count)


def begin(places, name, source, now):
    free, loser = places.make_room(source, now)
    if free:
        places.begin(name, source, now)
    return free, loser


def test_who_begins_many_handshakes_gives_way_to_whoever_comes():
    places = HandshakePlaces(4, 1.0)
    for number in range(4):
        assert begin(places, f"a{number}", "a", 0.0) == (True, None)
    assert begin(places, "a4", "a", 0.1) == (False, None)
    assert begin(places, "b0", "b", 0.1) == (True, "a0")
    # Two and two are equal: nobody gives way at once.
    assert begin(places, "b1", "b", 0.2) == (True, "a1")
    assert begin(places, "b2", "b", 0.3) == (False, None)
    assert begin(places, "c0", "c", 0.3) == (True, "a2")
    assert places.taken == 4


def test_among_equals_the_oldest_gives_way_after_its_patience_and_not_before():
    places = HandshakePlaces(2, 1.0)
    begin(places, "a0", "a", 0.0)
    begin(places, "b0", "b", 0.5)
    assert begin(places, "c0", "c", 0.9) == (False, None)
    assert begin(places, "c0", "c", 1.0) == (True, "a0")
    assert begin(places, "d0", "d", 1.2) == (False, None)
    places.end("b0")
    places.end("b0")
    assert begin(places, "d0", "d", 1.2) == (True, None)


def test_a_source_that_fills_all_places_is_slowed_down_to_its_patience():
    """Nobody else comes: even then a stalled handshake does not keep its place for its whole time."""
    places = HandshakePlaces(2, 1.0)
    begin(places, "a0", "a", 0.0)
    begin(places, "a1", "a", 0.5)
    assert begin(places, "a2", "a", 0.9) == (False, None)
    assert begin(places, "a3", "a", 1.1) == (True, "a0")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 3)), max_size=80))
def test_places_for_handshakes_are_given_as_one_counts_them_by_hand(steps):
    places, held, now = HandshakePlaces(5, 4.0), [], 0.0
    for number, (beginning, source, passes) in enumerate(steps):
        now += passes
        if not beginning:
            if held:
                gone = held.pop(number % len(held))
                places.end(gone[0])
            continue
        counts = {name: sum(1 for each in held if each[1] == name) for name in "abc"}
        free, loser = begin(places, number, source, now)
        if len(held) < 5:
            assert (free, loser) == (True, None)
        elif max(counts.values()) > counts[source] + 1:
            assert counts[next(each[1] for each in held if each[0] == loser)] == max(counts.values())
            assert loser == next(each[0] for each in held if each[1] == held_by(held, loser))
        elif now - held[0][2] >= 4.0:
            assert (free, loser) == (True, held[0][0])
        else:
            assert (free, loser) == (False, None)
        held = [each for each in held if each[0] != loser]
        if free:
            held.append((number, source, now))
        assert places.taken == len(held) <= 5


def held_by(held, handshake):
    return next(source for each, source, _ in held if each == handshake)
