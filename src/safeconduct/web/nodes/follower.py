"""The process of a gateway that follows the control plane: it alone talks to it, and keeps the copy that workers read.

Owns the wiring of `app.follow_record`. While it is away nothing is known to be current, so the workers'
budgets run. Serves nothing but the node's metrics, on loopback, where that is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from safeconduct.app.follow_record import Enrolment, RecordFollower
from safeconduct.audit.heartbeat import Greeting
from safeconduct.audit.mirror import Mirror
from safeconduct.audit.reader import PublishedLog
from safeconduct.kernel.clock import SystemClock
from safeconduct.settings import Settings
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.position_page import Position, PositionPage
from safeconduct.storage.service_log import start_service_log
from safeconduct.upstreams.control_plane import HttpControlPlane
from safeconduct.web.nodes.home import GatewayHome, open_home, write_whole
from safeconduct.web.nodes.metrics import MetricsListener, measure_files, node_metrics
from safeconduct.web.nodes.process import run_until_stopped
from safeconduct.web.nodes.shared import ControlClock, open_position

_logger = logging.getLogger(__name__)


class _Page:
    """Tells workers the newest position; two followings that overlap never take it back."""

    def __init__(self, page: PositionPage) -> None:
        self._page = page
        before = self._page.read()
        self._as_of = before.as_of if before is not None else float("-inf")

    def __call__(self, size: int, root: bytes, as_of: float, time: float) -> None:
        if as_of >= self._as_of:
            self._as_of = as_of
            self._page.write(Position(size, root, as_of, time))


def make_follower(home: GatewayHome) -> tuple[RecordFollower, Callable[[], None]]:
    """A follower of this home and what closes its files. Raises LogUnavailable (another process follows for this home)."""
    page = open_position(home.settings.data)
    clock = ControlClock(page)
    directory = FileLogDirectory(home.record)
    mirror = Mirror.open(directory, home.verifier)
    for note in mirror.notes:
        _logger.warning("%s", note)
    subject_keys, vault = home.open_vault()
    enrolment = Enrolment(party=home.descriptor.party, signer=home.signer, taken_in=home.take_up)

    def greeted(text: str, _greeting: Greeting) -> None:
        if not home.greeting.exists() or home.greeting.read_text("ascii") != text:
            write_whole(home.greeting, text.encode("ascii"))

    follower = RecordFollower(
        mirror,
        lambda: HttpControlPlane(
            home.descriptor.control,
            party=enrolment.party,
            signer=enrolment.signer(),
            audience=home.descriptor.issuer,
            clock=clock,
            tls=home.control_tls(),
        ),
        enrolment=enrolment,
        clock=clock,
        tell=_Page(page),
        greeted=greeted,
        vault=vault,
    )
    if mirror.size:
        published = PublishedLog(directory.read, home.verifier)
        follower.look_at(published.entries(0, published.refresh().size))

    def close() -> None:
        mirror.close()
        vault.close()
        subject_keys.close()

    return follower, close


def run_follower(
    settings: Settings,
    *,
    control: str | None,
    control_ca: Path | None = None,
    ready: Callable[[str], None],
    metrics_port: int | None = None,
) -> None:
    """Follow until SIGTERM. Ready with the first heartbeat, or at once when an earlier copy can be served from.

    metrics_port: on loopback, where this node's metrics are told: a gateway has no API that could.
    """
    home = open_home(settings, control=control, control_ca=control_ca)
    undo = start_service_log(settings.logs / "follower", level=settings.log_level)
    # Each call in its own line would drown what matters, several a minute for ever.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    follower, close = make_follower(home)

    async def work(stop: asyncio.Event) -> None:
        metrics = MetricsListener(partial(node_metrics, measure_files(settings.data), SystemClock()))
        if metrics_port is not None:
            await metrics.start(metrics_port)
        following = asyncio.create_task(follower.run())
        first = asyncio.create_task(follower.first_beat.wait())
        stopped = asyncio.create_task(stop.wait())
        if not home.greeting.exists():
            await asyncio.wait({first, stopped, following}, return_when=asyncio.FIRST_COMPLETED)
        ready("")
        await asyncio.wait({stopped, following}, return_when=asyncio.FIRST_COMPLETED)
        metrics.close()
        for task in (following, first, stopped):
            task.cancel()
        await asyncio.gather(following, first, stopped, return_exceptions=True)

    try:
        run_until_stopped(work)
    finally:
        close()
        undo()
