"""What holds for every test: repeatable examples, a fast disk, and no secret in anything that is said."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# First: it puts its watches in place before the product's modules take each other's names.
from tests.support.canaries import CANARIES, LENGTH, LogWatch
from tests.support.logged_secrets import LEAKS

from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.storage.vault import SqliteVault

RAM = Path("/dev/shm")
RAM_NEEDED = 512 * 2**20
# Durability is asked of a disk; everywhere else a sync that goes to a slow disk only costs time.
ON_DISK = ("tests/faults/", "tests/unit/storage/")
WATCH = LogWatch()

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


def _ram_has_room() -> bool:
    try:
        return os.access(RAM, os.W_OK | os.X_OK) and shutil.disk_usage(RAM).free > RAM_NEEDED
    except OSError:
        return False


if _ram_has_room():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RAM))


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of the test's own: on a disk where durability is the subject, in memory elsewhere.

    The service logs that processes left in it are searched for canaries before it goes.
    """
    if request.node.nodeid.startswith(ON_DISK):
        with tempfile.TemporaryDirectory(prefix="safeconduct-test-", ignore_cleanup_errors=True) as name:
            yield Path(name)
            _search_logs(Path(name))
    else:
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        directory = factory.mktemp("t")
        yield directory
        _search_logs(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _search_logs(directory: Path) -> None:
    for path in directory.rglob("*.log*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20:
            CANARIES.said("log", path.read_bytes())


@pytest.fixture(autouse=True, scope="session")
def _watched() -> Iterator[None]:
    product = logging.getLogger("safeconduct")
    product.setLevel(logging.DEBUG)
    for logger in (logging.getLogger(), logging.getLogger("uvicorn")):
        logger.addHandler(LEAKS)
        logger.addHandler(WATCH)
    put = SqliteVault.put

    def planting(vault: SqliteVault, kind: str, name: str, subject: str, plaintext: bytes) -> None:
        if kind == CREDENTIAL_KIND and len(plaintext) >= LENGTH:
            CANARIES.plant("an upstream credential", plaintext)
        put(vault, kind, name, subject, plaintext)

    SqliteVault.put = planting  # type: ignore[method-assign]
    yield
    SqliteVault.put = put  # type: ignore[method-assign]
    assert LEAKS.found == []
    # The last word of the run: whatever any test, or what it left running, let slip.
    assert CANARIES.ever == []


@pytest.fixture(autouse=True)
def _no_secret_is_said() -> Iterator[None]:
    """Whatever says a canary fails the test in which it was said."""
    yield
    found, LEAKS.found[:] = LEAKS.found[:], []
    assert found == []
    assert CANARIES.taken() == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the second reading counted, over all of its parts, wherever they ran."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "second_reading" and isinstance(value, dict):
                counts.update(value)
    if counts:
        terminalreporter.write_line(
            "second reading: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())
        )
