"""Every hostile presentation is refused, at the step and with the code that its file names."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.passport.verification import verify_passport

HERE = Path(__file__).resolve().parent
FILES = sorted(HERE.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_hostile_presentation_is_refused_at_its_step(path: Path) -> None:
    vector = json.loads(path.read_text())
    key = VerifyingKey(vector["issuer_jwk"])
    with pytest.raises(VerificationFailed) as failed:
        verify_passport(
            vector["presentation"],
            issuer=vector["issuer"],
            issuer_key=lambda kid: key if kid == key.kid else None,
            audience=vector["audience"],
            nonce=vector["nonce"],
            status=lambda *_: PassportStatus.VALID,
            now=vector["now"],
        )
    assert (failed.value.step, failed.value.code) == (vector["step"], vector["code"]), str(failed.value)


def test_the_files_are_what_the_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("generate_passport_vectors", HERE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = {path.name: path.read_text() for path in FILES}
    assert module.files() == written
    assert len(written) > 50
