"""Goals of the gateway's bench: what is not measured is no success, and what was missed is explained by the run's own figures."""

import pytest
from bench.loads.goals import goals


def told(**figures):
    return goals(figures, sync_us=200.0, es256=60.0, digest=50.0, chunks=50)


def row(found, start):
    return next(each for each in found.rows if each["goal"].startswith(start))


def json_of(cpu_us, *turns):
    figures = {"cpu_us": cpu_us, "others_us": 1.0, "kernel_us": 2.0, "per_cpu_second": 1e6 / cpu_us}
    return {"json": {**figures, "turns_us": list(turns)} if turns else figures}


def test_what_was_not_measured_is_not_reached():
    assert {each["reached"] for each in told().rows} == {None}
    assert len(told().rows) == 12


@pytest.mark.parametrize(("ours", "reached"), [(40.0, True), (40.1, False)])
def test_a_goal_is_reached_at_its_limit_and_missed_beyond(ours, reached):
    found = row(told(nginx=json_of(20.0), safeconduct=json_of(ours)), "JSON answer, CPU x nginx")
    assert found["reached"] is reached


def test_a_goal_that_is_missed_names_the_floors_share():
    figures = {"nginx": json_of(20.0), "safeconduct": json_of(100.0), "bare stack": json_of(30.0)}
    found = told(**figures)
    why = row(found, "JSON answer, CPU x nginx")["why"]
    assert "the bare stack alone is 1.50 x nginx" in why
    assert "the product adds 70.0 us" in why
    assert dict(found.beside)["JSON answer, ours / bare stack"] == pytest.approx(100 / 30)


def test_without_the_floor_nothing_is_explained():
    found = row(told(nginx=json_of(20.0), safeconduct=json_of(100.0)), "JSON answer, CPU x nginx")
    assert found["why"].startswith("the floor was not in this run")


def test_a_ratio_is_the_median_of_the_turns():
    # The second turn was disturbed, for both: their ratio in that turn says the same as in the others.
    figures = {"nginx": json_of(99.0, 20, 60, 20), "safeconduct": json_of(1.0, 100, 300, 102)}
    assert row(told(**figures), "JSON answer, CPU x nginx")["value"] == pytest.approx(5.0)


def test_more_is_better_where_requests_per_cpu_second_count():
    figures = {"litellm": json_of(10_000.0), "safeconduct": json_of(49.0)}
    assert row(told(**figures), "requests per CPU-second")["reached"] is True


def test_a_token_bound_to_a_certificate_is_held_against_nginx_with_one():
    figures = {name: {"mtls": json_of(cpu)["json"]} for name, cpu in (("nginx", 25.0), ("safeconduct", 75.0))}
    found = row(told(**figures), "token bound to a client certificate")
    assert (found["value"], found["reached"]) == (3.0, False)
