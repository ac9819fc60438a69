"""Published inclusion and consistency vectors; most of them say what must fail."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from safeconduct.audit.merkle import verify_consistency, verify_inclusion
from safeconduct.kernel.errors import VerificationFailed

SHARED = Path(os.environ.get("SAFECONDUCT_SHARED") or Path(__file__).resolve().parents[2].parent / "shared")
VECTORS = SHARED / "data" / "tlog"

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"no vectors at {VECTORS.name}: set SAFECONDUCT_SHARED"
)


def cases(kind: str):
    return [
        pytest.param(path, id=str(path.relative_to(VECTORS)))
        for path in sorted((VECTORS / kind).rglob("*.json"))
    ]


def decode(text: str | None) -> bytes:
    return base64.b64decode(text or "", validate=True)


@pytest.mark.parametrize("path", cases("inclusion"))
def test_inclusion_vector(path):
    case = json.loads(path.read_text())
    arguments = (
        decode(case["leafHash"]),
        case["leafIdx"],
        case["treeSize"],
        [decode(value) for value in case["proof"] or []],
        decode(case["root"]),
    )
    if case["wantErr"]:
        with pytest.raises(VerificationFailed):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("path", cases("consistency"))
def test_consistency_vector(path):
    case = json.loads(path.read_text())
    arguments = (
        case["size1"],
        case["size2"],
        decode(case["root1"]),
        decode(case["root2"]),
        [decode(value) for value in case["proof"] or []],
    )
    if case["wantErr"]:
        with pytest.raises(VerificationFailed):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def test_both_verdicts_are_among_the_vectors():
    verdicts = {json.loads(path.read_text())["wantErr"] for path in VECTORS.rglob("*.json")}
    assert verdicts == {True, False}
