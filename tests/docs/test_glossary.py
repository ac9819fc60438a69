"""The glossary says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from safeconduct.decision.rules import NOT_YET_EMITTED
from safeconduct.kernel.vocabulary import Code

GLOSSARY = (Path(__file__).resolve().parents[2] / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")


def words_after(start: str) -> list[str]:
    """The words of the first code span at or after `start`."""
    found = re.search(re.escape(start) + r"\s*`([^`]+)`", GLOSSARY)
    assert found is not None, start
    return found[1].split()


def test_the_glossary_lists_every_code_in_the_order_of_severity():
    assert words_after("### Codes, most severe first") == [code.value for code in Code]


def test_the_glossary_lists_exactly_the_codes_that_are_not_yet_emitted():
    listed = words_after("Not yet emitted, because what they look at comes later:")
    assert listed == [code.value for code in Code if code in NOT_YET_EMITTED]
