"""What a request through the gateway costs, beside nginx, Envoy, LiteLLM and Portkey in the same run on the same machine.

`bare stack` is no peer but the floor: the stack that ours is made of with nothing of the product in it (peers/bare.py). What it
costs is what CPython costs here; only the rest is ours to win back. Each goal that is missed says so from this run's figures.

The gateway under test has one core, upstreams and load generators the other. Ours runs as `safeconduct serve` with policy,
metering and audit on (a decision and a completion entry per request, on disk). CPU is user and system time of the whole
process tree. Tokens bound to a client certificate are measured with TLS 1.3 and a client certificate for everybody, handshakes
not counted. Peers come from `bench/peers/set-up`; one that is not there is named and left out. Prints every goal as reached
or by how much it was missed, writes bench/results/gateway.json.

Usage: python bench/gateway.py [--quick] [--only nginx,bare,safeconduct] [--seconds 4] [--keep DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safeconduct import __version__

sys.path.insert(0, str(Path(__file__).resolve().parent))

from loads import upstream as upstream_module
from loads.cases import CONNECTIONS, HELD, PROBES, STREAMS, Bench, body_of, head_of
from loads.certificates import Authority
from loads.goals import FLOOR, goals
from loads.instance import MeasuredInstance
from loads.parts import es256_us, fdatasync_us, hmac_us
from loads.processes import Started, free_ports
from peers import running
from peers.running import Gateway

KEY = "bench-0123456789abcdef0123456789abcdef"
BIG = 100_000
# Of its core, at full load: below that others had it.
QUIET = 0.7
CASES: dict[str, dict[str, Any]] = {
    "json": {"kind": "json", "connections": CONNECTIONS},
    "body 100 kB": {"kind": "json", "connections": CONNECTIONS, "size": BIG},
    "stream": {"kind": "stream", "connections": STREAMS},
}
TURN_SECONDS = {"json": 1.0, "body 100 kB": 1.0, "stream": 2.0}
TURNS = 3

HERE = Path(__file__).resolve().parent


def first_answer(gateway: Gateway, seconds: float = 60.0) -> None:
    """Ask until the first answer is a 200: some need half a minute for it. Raises RuntimeError with what was answered."""
    body, told = body_of(gateway, "json"), "no answer"
    head = head_of(gateway, "json", body).replace("\\r\\n", "\r\n").encode()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", gateway.port), 30) as connection,
        ):
            connection.sendall(head + body.encode())
            answer = connection.recv(65536)
            if answer.startswith(b"HTTP/1.1 200"):
                return
            told = answer.decode("latin-1")[:600]
            if gateway.name == "safeconduct":
                break
        time.sleep(0.5)
    raise RuntimeError(f"{gateway.name}: {told}")


def measure(bench: Bench, gateway: Gateway, *, slow: bool) -> None:
    first_answer(gateway)
    if not slow:
        # First, before other requests have left room in the heap that the streams could fill unseen.
        bench.held_streams(gateway, HELD)
    for case, asked in CASES.items():
        connections = (4 if case == "stream" else 8) if slow else asked["connections"]
        bench.full_load(gateway, case, **{**asked, "connections": connections})
    figures = bench.results[gateway.name]["stream"]
    # What a stream costs beyond a JSON answer, spread over its chunks.
    figures["chunk_us"] = figures["cpu_us"] / upstream_module.CHUNKS
    bench.results[gateway.name]["resident"] = gateway.process.memory()
    body = body_of(gateway, "late")
    background = bench.results[gateway.name]["json"]["per_second"] / 2
    bench.half_load(
        gateway, "half load", heads=[head_of(gateway, "late", body)], body=body, background=background
    )
    if slow:
        bench.held_streams(gateway, HELD // 10)


def measure_ours(bench: Bench, instance: MeasuredInstance, gateway: Gateway) -> None:
    count = round(12_000 * bench.seconds)
    token, proofs = instance.proofs(count)
    body = json.dumps({**json.loads(body_of(gateway, "json")), "model": instance.models["json-c3"]})
    # wrk takes the proofs in their order and begins again at the end; a repeated one is refused, which fails the run.
    heads = [head_of(gateway, "json", body, authorization=f"DPoP {token}", proof=proof) for proof in proofs]
    bench.note(gateway, "dpop", bench.wrk(gateway, "json", heads, body, CONNECTIONS, bench.seconds))
    token, proofs = instance.proofs(round(PROBES * bench.seconds * 1.1) + 100)
    body = json.dumps({**json.loads(body_of(gateway, "late")), "model": instance.models["late-c3"]})
    heads = [head_of(gateway, "late", body, authorization=f"DPoP {token}", proof=proof) for proof in proofs]
    background = bench.results[gateway.name]["json"]["per_second"] / 2
    bench.half_load(gateway, "half load C3", heads=heads, body=body, background=background)


def measure_certificates(
    bench: Bench, gateway: Gateway, authorization: str | None, tls: dict[str, str]
) -> None:
    bench.certificate_load(gateway, "mtls", authorization, tls)
    if gateway.name != "safeconduct":
        return
    body = json.dumps({**json.loads(body_of(gateway, "late")), "model": gateway.model("late-c3")})
    bench.half_load(
        gateway,
        "half load C3 mTLS",
        heads=[head_of(gateway, "late", body, authorization=authorization)],
        body=body,
        background=bench.results[gateway.name]["mtls"]["per_second"] / 2,
        tls=tls,
        authorization=authorization,
    )


class _Run:
    """One run: the upstreams are up, gateways come and go one after the other."""

    def __init__(
        self, bench: Bench, upstreams: dict[str, int], direct: Gateway, only: set[str] | None
    ) -> None:
        self.bench = bench
        self.upstreams = upstreams
        self.direct = direct
        self.only = only
        self.skipped: dict[str, str] = {}
        self.instance: MeasuredInstance
        self.authority = Authority(bench.work / "certificates")

    def asked_for(self, name: str) -> bool:
        if self.only is None or name in self.only:
            return True
        self.skipped[name] = "not asked for"
        return False

    def peers(self) -> None:
        work, core = self.bench.work, self.bench.options.core
        makers = {
            "nginx": lambda: running.nginx(work, self.upstreams, KEY, core),
            "bare": lambda: running.bare(work, self.upstreams, KEY, core),
            "safeconduct": lambda: _ours(self.bench, self.upstreams),
            "envoy": lambda: running.envoy(work, self.upstreams, KEY, core),
            "litellm": lambda: running.litellm(work, self.upstreams, KEY, core),
            "portkey": lambda: running.portkey(work, self.upstreams, KEY, core),
        }
        for name, make in makers.items():
            if not self.asked_for(name):
                continue
            made = make()
            if made is None:
                self.skipped[name] = "not installed (bench/peers/set-up)"
                print(f"  {name:<12} skipped: {self.skipped[name]}")
                continue
            gateway, instance = made if isinstance(made, tuple) else (made, None)
            print(f"  {gateway.name} {gateway.version}")
            with self._guarded(name, gateway):
                measure(self.bench, gateway, slow=name in ("litellm", "portkey"))
                if name in ("nginx", "bare", "safeconduct"):
                    self._without(gateway)
                if instance is not None:
                    self.instance = instance
                    measure_ours(self.bench, instance, gateway)

    def in_turns(self, turns: int) -> None:
        """Full load once more, a second or two each in turns, all of them up: what else the machine does then hits all alike."""
        work, core = self.bench.work, self.bench.options.core
        makers: dict[str, Callable[[], Gateway | None]] = {
            "nginx": lambda: running.nginx(work, self.upstreams, KEY, core),
            "bare": lambda: running.bare(work, self.upstreams, KEY, core),
            "safeconduct": lambda: _served(self.instance),
            "envoy": lambda: running.envoy(work, self.upstreams, KEY, core),
        }
        with contextlib.ExitStack() as stack:
            up = []
            for name, make in makers.items():
                if (self.only is None or name in self.only) and name not in self.skipped:
                    gateway = make()
                    assert gateway is not None
                    stack.callback(gateway.process.stop)
                    first_answer(gateway)
                    up.append(gateway)
            for _ in range(turns):
                for case, seconds in TURN_SECONDS.items():
                    for gateway in up:
                        self.bench.turn(gateway, case, **CASES[case], seconds=seconds)

    def certificates(self, turns: int) -> None:
        """nginx, the floor and ours with TLS 1.3 and a client certificate."""
        work, core = self.bench.work, self.bench.options.core
        certificate, key = self.authority.client("client")
        client = {"ca": str(self.authority.ca), "certificate": str(certificate), "key": str(key)}
        server = {
            "certificate": self.authority.certificate,
            "key": self.authority.key,
            "clients": self.authority.ca,
        }
        with contextlib.ExitStack() as stack:
            up: list[tuple[Gateway, str | None, dict[str, str]]] = []
            for name, make in (("nginx", running.nginx), ("bare", running.bare)):
                if self.only is None or name in self.only:
                    gateway = make(work, self.upstreams, KEY, core, tls=server)
                    assert gateway is not None
                    stack.callback(gateway.process.stop)
                    up.append((gateway, None, client))
            if self.only is None or "safeconduct" in self.only:
                instance = _instance(self.bench, self.upstreams, self.authority)
                gateway = _served(instance)
                stack.callback(gateway.process.stop)
                up.append((gateway, *instance.certificate_token()))
            for one in up:
                measure_certificates(self.bench, *one)
            for _ in range(turns):
                for one in up:
                    self.bench.certificate_turn(*one, seconds=1.0)

    def _without(self, gateway: Gateway) -> None:
        """The same probes and the same background load without a gateway between: what is left is added."""
        background = self.bench.results[gateway.name]["half load"]["background"]
        body = body_of(self.direct, "late")
        heads = [head_of(self.direct, "late", body)]
        case = f"half load as {gateway.name}"
        self.bench.half_load(self.direct, case, heads=heads, body=body, background=background)

    @contextlib.contextmanager
    def _guarded(self, name: str, gateway: Gateway) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # A peer that fails must not hide the others' figures; ours must not pass unseen.
            if name == "safeconduct":
                raise
            self.skipped[name] = f"failed: {str(error)[:500]}"
            print(f"  {name:<12} {self.skipped[name]}")
        finally:
            gateway.process.stop()


def run(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    bench, load = Bench(options, work), options.load_cores
    (port,) = free_ports(1)
    started: list[Started] = []
    try:
        answering = Started(
            [sys.executable, str(HERE / "loads/upstream.py"), str(port)],
            cores=load,
            log=work / "upstream.log",
        )
        started.append(answering)
        answering.until_open(port)
        static, static_port = running.nginx_upstream(work, upstream_module.ANSWER % 0, load)
        started.append(static)
        upstreams = {"json": static_port, "stream": port, "late": port, "hold": port}
        direct = Gateway("upstream", "direct", answering, port, key=KEY, path=lambda kind: f"/{kind}/v1")
        sync_us, verify_us, digest_us = fdatasync_us(work), es256_us(), hmac_us(BIG)
        print(
            f"one fdatasync {sync_us:.0f} us, one ES256 verification {verify_us:.1f} us, "
            f"one HMAC-SHA-256 over {BIG // 1000} kB {digest_us:.1f} us; load {os.getloadavg()[0]:.2f}\n"
        )
        one = _Run(bench, upstreams, direct, set(options.only.split(",")) if options.only else None)
        one.peers()
        one.in_turns(options.turns)
        one.certificates(options.turns)
    finally:
        for process in started:
            process.stop()
    told = goals(
        bench.results, sync_us=sync_us, es256=verify_us, digest=digest_us, chunks=upstream_module.CHUNKS
    )
    told.show()
    given = [
        share
        for name in (FLOOR, "safeconduct")
        if (share := bench.results.get(name, {}).get("json", {}).get("busy")) is not None
    ]
    quiet = not given or min(given) >= QUIET
    if not quiet:
        print(
            f"\nThe machine was busy: at full load a gateway got {min(given):.0%} of its core only. Processor time grows too "
            "when others empty the caches: repeat this on a quiet machine."
        )
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fdatasync_us": sync_us,
        "es256_us": verify_us,
        "quiet": quiet,
        "hmac_us": digest_us,
        "figures": bench.results,
        "skipped": one.skipped,
        "goals": told.rows,
        "beside": dict(told.beside),
    }


def _instance(
    bench: Bench, upstreams: dict[str, int], authority: Authority | None = None
) -> MeasuredInstance:
    return MeasuredInstance(
        bench.work, upstreams, bench.options.core, bench.options.load_cores, authority=authority
    )


def _served(instance: MeasuredInstance) -> Gateway:
    return Gateway(
        "safeconduct",
        __version__,
        instance.serve(),
        instance.port,
        key=instance.key,
        model=lambda kind: instance.models[kind],
    )


def _ours(bench: Bench, upstreams: dict[str, int]) -> tuple[Gateway, MeasuredInstance]:
    instance = _instance(bench, upstreams)
    return _served(instance), instance


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="two seconds a figure, nginx, the floor and ours only"
    )
    parser.add_argument("--only", help="names, comma-separated: nginx bare safeconduct envoy litellm portkey")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument(
        "--turns", type=int, default=TURNS, help="how often the gateways are loaded in turns, 0: not"
    )
    parser.add_argument("--core", default="0", help="core of the gateway under test")
    parser.add_argument("--load-cores", default="1", help="cores of upstreams and load generators")
    parser.add_argument("--keep", type=Path, help="work below this directory and keep it")
    options = parser.parse_args()
    if options.quick:
        options.seconds = min(options.seconds, 2.0)
        options.turns = min(options.turns, 1)
        options.only = options.only or "nginx,bare,safeconduct"
    missing = [name for name in ("nginx", "wrk") if running.program(name) is None]
    if missing:
        print(
            f"skipped: {' and '.join(missing)} not there; `bench/peers/set-up` gets them and the other peers"
        )
        return 0
    work = options.keep or Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    # Ended from outside, it must not leave servers and generators behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = run(options, work)
    finally:
        if options.keep is None:
            shutil.rmtree(work, ignore_errors=True)
    results["seconds"] = time.monotonic() - begin
    target = HERE / "results" / "gateway.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{results['seconds']:.0f} s; figures in {target.relative_to(HERE.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
