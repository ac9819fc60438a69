"""What the processes of one node share in files: the position of the record and the proofs that were used.

Owns where these lie, and the clock that goes with the position. Refuses nothing.
"""

from __future__ import annotations

from pathlib import Path

from safeconduct.kernel.clock import SystemClock
from safeconduct.storage.position_page import PositionPage
from safeconduct.storage.shared_replays import REPLAY_GROUPS, SharedReplays
from safeconduct.storage.shared_table import SharedTable


def shared_directory(data: Path) -> Path:
    """`<data>/shared`, made when it is absent."""
    directory = data / "shared"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def open_position(data: Path) -> PositionPage:
    """The node's position."""
    return PositionPage(shared_directory(data) / "position")


def open_replays(data: Path) -> SharedReplays:
    """The node's memory of used proofs; it stays open for the life of the process."""
    return SharedReplays(SharedTable.open(shared_directory(data) / "proofs", groups=REPLAY_GROUPS))


class ControlClock(SystemClock):
    """The control plane's wall time as last signed, counted on by the machine's steady clock.

    What the machine's own wall clock says is used only until the control plane was heard once since the machine's start.
    """

    def __init__(self, page: PositionPage) -> None:
        self._page = page

    def now(self) -> float:
        """Wall time, seconds since the epoch."""
        known = self._page.read()
        return super().now() if known is None else known.time + (self.monotonic() - known.as_of)
