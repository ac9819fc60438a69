"""`screen` against a running instance. Every name is made up."""

import json

import pytest
from tests.support.running_api import running_api
from tests.support.screening_lists import un_people

from safeconduct.cli.application import run


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("screen")) as bench:
        file = tmp_path_factory.mktemp("list") / "consolidated.xml"
        file.write_bytes(un_people(10))
        assert run(["lists", "import", "un.sc", str(file), "--data", str(bench.home)]) == 0
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        capsys.readouterr()
        found = run([*map(str, words), "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


@pytest.fixture
def listed(bench):
    status = bench.record.state.screening_lists["un.sc"]
    return [entry.names[0].text for entry in bench.node.lists.store.entries("un.sc", status.sha256)]


def test_a_name_is_screened_and_the_score_explained(cli, listed):
    shown = cli("screen", listed[2], "--born", "1960", "--country", "fr", "--explain")
    assert listed[2] in shown
    assert "log-odds" in shown
    assert "scored by safeconduct-names-1, weights " in shown
    found = json.loads(cli("screen", listed[2], "--json"))
    assert found["hits"][0]["list"] == "un.sc"
    assert found["band"] in {"review", "block"}


def test_a_file_of_names_is_screened_row_by_row(cli, listed, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(
        f'name,born,countries\n"{listed[0]}",1960-01-01,FR;DE\nZebulon Quartermain,,\n', encoding="utf-8"
    )
    shown = cli("screen", "--csv", path)
    assert listed[0] in shown
    lines = cli("screen", "--csv", path, "--json").splitlines()
    assert [json.loads(line)["name"] for line in lines] == [listed[0], "Zebulon Quartermain"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("name,borne\nMade Up,1960\n", "did you mean"),
        ("born\n1960\n", "no column `name`"),
        ("name,born\nMade Up\n", "not 2 columns"),
        ("name\n", "no rows"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_says_where(cli, tmp_path, text, remedy):
    path = tmp_path / "people.csv"
    path.write_text(text, encoding="utf-8")
    assert remedy in cli("screen", "--csv", path, status=2)


def test_wrong_use_says_what_was_meant(cli):
    assert "give one of them" in cli("screen", status=2)
    assert "unknown kind" in cli("screen", "Made Up", "--kind", "robot", status=1)
