"""The threat model is true: every test that it names exists, and every attack on the list of formats has its line."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "THREAT_MODEL.md").read_text()
FORMATS = ROOT.parent / "shared" / "formats.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda each: each.rsplit("/", 1)[-1])
def test_a_test_that_the_threat_model_names_exists(file, name):
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_every_line_of_the_tables_names_a_test():
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line]
    tables = [
        line for line in TEXT[TEXT.index("## Attacks on the gateway") :].splitlines() if line.startswith("| ")
    ]
    assert len(tables) > 40
    assert len(lines) > len(tables)
    for line in tables:
        assert "::" in line or line == "| attack | defence | test |", line


def test_every_attack_of_the_formats_has_its_line():
    if not FORMATS.exists():
        pytest.skip("the description of the formats is not beside the project")
    section = FORMATS.read_text().split("## 8.")[1].split("\n## ")[0]
    families = re.findall(
        r"^(?:Model identity|Authority|Egress and tenancy|Logs and supply chain): (.*?)(?=^[A-Z][a-z ]+: |\Z)",
        section,
        re.MULTILINE | re.DOTALL,
    )
    assert len(families) == 4
    attacks = [" ".join(each.split()).rstrip(".") for family in families for each in family.split(";")]
    assert len(attacks) > 25
    first_columns = {
        line.split(" | ")[0].removeprefix("| ") for line in TEXT.splitlines() if line.startswith("| ")
    }
    assert [each for each in attacks if each not in first_columns] == []


def test_every_module_of_attacks_is_named():
    for path in (ROOT / "tests" / "attacks").glob("test_*.py"):
        assert f"tests/attacks/{path.name}::" in TEXT
