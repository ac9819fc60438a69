"""A node of several processes: which there are, in which shape, and on which sockets.

Two shapes: control plane and workers on one data directory (`serve --workers`), or a follower and workers in a gateway's own
home (`gateway`). Owns the composition; the supervisor keeps it alive.
"""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from safeconduct.app.instance_keys import WORKER_LOG_KEY
from safeconduct.bootstrap import record_running
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.signing import EDDSA
from safeconduct.settings import Settings, read_descriptor, worker_name
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.service_log import start_service_log
from safeconduct.web.listeners import Addresses, base_url_of, check_free, tls_of
from safeconduct.web.nodes.home import open_home
from safeconduct.web.nodes.metrics import LISTENER_HOST, measure_files
from safeconduct.web.nodes.process import ProcessConfig, settings_as_text
from safeconduct.web.nodes.supervisor import ProcessSpec, Supervisor, bind

MAX_WORKERS = 64


def _listeners(settings: Settings, workers: int) -> list[socket.socket]:
    if not 1 <= workers <= MAX_WORKERS:
        raise InvalidInput(f"1 to {MAX_WORKERS} workers", field="--workers", remedy="one per core is enough")
    check_free(settings.gateway_host, settings.gateway_port, "--gateway-port")
    try:
        return bind(settings.gateway_host, settings.gateway_port, workers)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise Conflict(
            f"port {settings.gateway_port} on {settings.gateway_host} is in use",
            field="--gateway-port",
            remedy="stop what listens there, or choose another port with --gateway-port",
        ) from None


def _workers(
    settings: Settings, listeners: Sequence[socket.socket], *, followed: bool, url: str
) -> list[ProcessSpec]:
    return [
        ProcessSpec(
            name=worker_name(number),
            config=ProcessConfig(
                kind="worker",
                settings=settings_as_text(settings),
                followed=followed,
                number=number,
                listener=listener.fileno(),
                public_url=url,
            ).encode(),
            descriptors=(listener.fileno(),),
        )
        for number, listener in enumerate(listeners, start=1)
    ]


def _supervise(
    settings: Settings,
    first: ProcessSpec,
    listeners: list[socket.socket],
    others: list[ProcessSpec],
    ready: Callable[[dict[str, bytes]], None],
) -> int:
    undo = start_service_log(settings.logs / "supervisor", level=settings.log_level)
    if settings.tls_certificate is not None:
        # SIGHUP asks for the new certificate. Every process notices changed files by itself and inherits this; none may end by it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return Supervisor([first], others).run(ready)
    finally:
        for one in listeners:
            one.close()
        undo()


def serve_with_workers(
    settings: Settings,
    *,
    workers: int,
    sandbox_port: int | None = None,
    ready: Callable[[Addresses], None] | None = None,
) -> int:
    """Control plane and `workers` gateway processes on one data directory, until SIGINT or SIGTERM; the exit status.

    Raises InvalidInput, Conflict (a port in use), ProcessFailed.
    """
    read_descriptor(settings)
    tls_of(settings)
    keys = KeyDirectory(settings.keys)
    if not keys.has(WORKER_LOG_KEY):
        keys.make(WORKER_LOG_KEY, EDDSA)
    listeners = _listeners(settings, workers)
    settings = msgspec.structs.replace(settings, gateway_port=int(listeners[0].getsockname()[1]))
    if settings.api_port == 0:
        # The control plane keeps its address when it is restarted.
        with socket.socket() as probe:
            probe.bind((settings.api_host, 0))
            settings = msgspec.structs.replace(settings, api_port=int(probe.getsockname()[1]))
    check_free(settings.api_host, settings.api_port, "--api-port")
    measure_files(settings.data).clear()
    control = ProcessSpec(
        name="control",
        config=ProcessConfig(
            kind="control", settings=settings_as_text(settings), number=workers, sandbox_port=sandbox_port
        ).encode(),
    )

    def up(told: dict[str, bytes]) -> None:
        addresses = msgspec.json.decode(told["control"].strip(), type=Addresses)
        gateway = base_url_of(
            settings.gateway_host, settings.gateway_port, tls=settings.tls_certificate is not None
        )
        addresses = msgspec.structs.replace(addresses, gateway=gateway)
        record_running(settings, api=addresses.api, gateway=addresses.gateway)
        if ready is not None:
            ready(addresses)

    return _supervise(settings, control, listeners, _workers(settings, listeners, followed=False, url=""), up)


def run_gateway(
    settings: Settings,
    *,
    workers: int = 1,
    control: str | None = None,
    control_ca: Path | None = None,
    public_url: str = "",
    metrics_port: int | None = None,
    ready: Callable[[str], None] | None = None,
) -> int:
    """An enrolled gateway: a follower and `workers` processes, until SIGINT or SIGTERM; the exit status.

    control: another address of its control plane; control_ca: other authorities to trust as its. public_url: what clients call, when it is not the instance's audience.
    metrics_port: on loopback, where the sum of its processes' metrics is told; None for nowhere.
    ready: called with the gateway's address. Raises NotFound (not enrolled), InvalidInput, Conflict, ProcessFailed.
    """
    control_ca = control_ca.absolute() if control_ca is not None else None
    open_home(settings, control=control, control_ca=control_ca)
    tls_of(settings)
    if metrics_port is not None:
        check_free(LISTENER_HOST, metrics_port, "--metrics-port")
    listeners = _listeners(settings, workers)
    settings = msgspec.structs.replace(settings, gateway_port=int(listeners[0].getsockname()[1]))
    measure_files(settings.data).clear()
    follower = ProcessSpec(
        name="follower",
        config=ProcessConfig(
            kind="follower",
            settings=settings_as_text(settings),
            control=control or "",
            control_ca=str(control_ca or ""),
            metrics_port=metrics_port,
        ).encode(),
    )

    def up(_told: dict[str, bytes]) -> None:
        if ready is not None:
            tls = settings.tls_certificate is not None
            ready(base_url_of(settings.gateway_host, settings.gateway_port, tls=tls))

    others = _workers(settings, listeners, followed=True, url=public_url)
    return _supervise(settings, follower, listeners, others, up)
