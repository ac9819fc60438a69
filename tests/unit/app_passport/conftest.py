from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.credentials import Credentials


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Credentials]:
    credentials = Credentials(tmp_path)
    yield credentials
    credentials.embedded.close()
