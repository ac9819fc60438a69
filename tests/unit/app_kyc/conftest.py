"""One bench per test."""

import pytest
from tests.support.kyc import KycBench


@pytest.fixture
def bench(tmp_path):
    made = KycBench(tmp_path)
    yield made
    made.close()
