"""What a request through the gateway costs, beside nginx, Envoy, LiteLLM and Portkey in the same run on the same machine.

The gateway under test has one core, upstreams and load generators the other. Ours runs as `safeconduct serve` with policy,
metering and audit on (a decision and a completion entry per request, on disk). CPU is user and system time of the whole
process tree. Peers come from `bench/peers/set-up`; one that is not there is named and left out. Prints every goal as reached
or by how much it was missed, writes bench/results/gateway.json.

Usage: python bench/gateway.py [--quick] [--only nginx,safeconduct] [--seconds 4] [--keep DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from safeconduct import __version__

sys.path.insert(0, str(Path(__file__).resolve().parent))

from loads import upstream as upstream_module
from loads.instance import MeasuredInstance
from loads.processes import Started, free_ports
from peers import running
from peers.running import Gateway

KEY = "bench-0123456789abcdef0123456789abcdef"
HELD = 500
CONNECTIONS = 32
STREAMS = 128
LATE_CONNECTIONS = 64
PROBES = 300.0
BACKGROUND_CONNECTIONS = 64
BIG = 100_000

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
HERE = Path(__file__).resolve().parent


def body_of(gateway: Gateway, kind: str, size: int = 0) -> str:
    """A chat request; of `size` bytes when given: many messages with line feeds and quotes, as prompts have."""
    messages = [
        {"role": "user", "content": "Which of these three reports should be looked at first, and why?"}
    ]
    if size:
        text = 'def parse(line: str) -> "Record":\n    return Record(*line.split("\\t"))\n' * 27
        messages = [
            {"role": "user" if number % 2 else "assistant", "content": text}
            for number in range(size // len(json.dumps(text)))
        ]
    asked: dict[str, Any] = {"model": gateway.model(kind), "max_tokens": 200, "messages": messages}
    if kind in ("stream", "hold"):
        asked["stream"] = True
    return json.dumps(asked)


def head_of(
    gateway: Gateway, kind: str, body: str, *, authorization: str | None = None, proof: str = ""
) -> str:
    lines = {
        "host": f"127.0.0.1:{gateway.port}",
        "accept": "application/json",
        "user-agent": "bench/1",
        "content-type": "application/json",
        "content-length": str(len(body.encode())),
        "authorization": authorization or f"Bearer {gateway.key}",
        **gateway.headers(kind),
    }
    if proof:
        lines["dpop"] = proof
    return (
        f"POST {gateway.path(kind)} HTTP/1.1\\r\\n"
        + "".join(f"{k}: {v}\\r\\n" for k, v in lines.items())
        + "\\r\\n"
    )


class Bench:
    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options = options
        self.work = work
        self.seconds: float = options.seconds
        self.results: dict[str, dict[str, Any]] = {}
        self.started: list[Started] = []

    # -- generators

    def _wrk(
        self,
        gateway: Gateway,
        heads: list[str],
        body: str,
        connections: int,
        seconds: float,
        pause_ms: float = 0.0,
    ) -> list[str]:
        number = len(list(self.work.glob("*.lua")))
        source, payload = self.work / f"heads-{number}", self.work / f"body-{number}"
        source.write_text("\n".join(heads))
        payload.write_text(body)
        script = self.work / f"load-{number}.lua"
        script.write_text(
            f'local body = io.open("{payload}", "rb"):read("*a")\nlocal requests, at = {{}}, 0\n'
            f'for line in io.lines("{source}") do\n'
            '  requests[#requests + 1] = line:gsub("\\\\r\\\\n", "\\r\\n") .. body\nend\n'
            "function request()\n  at = at % #requests + 1\n  return requests[at]\nend\n"
            # For a given rate: a random pause before each request (whole milliseconds, so a little burstier than life).
            + (f"function delay()\n  return math.random(0, {round(pause_ms * 2)})\nend\n" if pause_ms else "")
        )
        wrk = running.program("wrk")
        assert wrk is not None
        return [
            "taskset",
            "-c",
            self.options.load_cores,
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            str(script),
            f"http://127.0.0.1:{gateway.port}/",
        ]

    def wrk(
        self, gateway: Gateway, kind: str, heads: list[str], body: str, connections: int, seconds: float
    ) -> dict[str, Any]:
        """Full load: requests done, and what the gateway's tree spent on them."""
        command = self._wrk(gateway, heads, body, connections, seconds)
        before, started = gateway.process.cpu(), time.monotonic()
        told = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **running.LIBRARIES}
        ).stdout
        spent, wall = gateway.process.cpu() - before, time.monotonic() - started
        requests = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
        if failed or not requests:
            raise RuntimeError(f"{gateway.name} {kind}: {told}\n{gateway.process.tail()}")
        quantiles = {
            name: float(value) * _UNITS[unit] * 1e3
            for name, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", told)
        }
        return {
            "requests": requests,
            "cpu_us": spent / requests * 1e6,
            "per_cpu_second": requests / spent,
            "per_second": requests / wall,
            "busy": spent / wall,
            "p50_ms": quantiles.get("50"),
            "p99_ms": quantiles.get("99"),
        }

    def generate(self, **asked: Any) -> dict[str, Any]:
        told = subprocess.run(self._generator(asked), capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(told.stderr)
        return json.loads(told.stdout.splitlines()[-1])

    def _generator(self, asked: dict[str, Any]) -> list[str]:
        return [
            "taskset",
            "-c",
            self.options.load_cores,
            sys.executable,
            str(HERE / "loads/generator.py"),
            json.dumps(asked),
        ]

    # -- cases

    def full_load(self, gateway: Gateway, case: str, kind: str, *, connections: int, size: int = 0) -> None:
        body = body_of(gateway, kind, size)
        heads = [head_of(gateway, kind, body)]
        # Connections, caches and a compiler's warm-up are not what is measured.
        self.wrk(gateway, kind, heads, body, connections, 3 if gateway.name in ("litellm", "portkey") else 1)
        self.note(gateway, case, self.wrk(gateway, kind, heads, body, connections, self.seconds))

    def held_streams(self, gateway: Gateway, count: int) -> None:
        body = body_of(gateway, "hold")
        source = self.work / "heads"
        source.write_text(head_of(gateway, "hold", body))
        self.wrk(
            gateway,
            "json",
            [head_of(gateway, "json", body_of(gateway, "json"))],
            body_of(gateway, "json"),
            8,
            1,
        )
        before = gateway.process.memory()
        asked = {"mode": "hold", "port": gateway.port, "count": count, "heads": str(source), "body": body}
        with subprocess.Popen(
            self._generator(asked),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            if not holder.stdout.readline():
                raise RuntimeError(holder.stderr.read() if holder.stderr else "")
            time.sleep(0.5)
            during = gateway.process.memory()
            holder.communicate("\n", timeout=20)
        self.note(gateway, "open stream", {"bytes": (during - before) / count, "streams": count})

    def half_load(
        self,
        gateway: Gateway,
        case: str,
        *,
        heads: list[str],
        body: str,
        background: float,
        key: str = "json",
    ) -> None:
        """Waits of PROBES requests a second to the late upstream, while `background` others a second keep the core busy."""
        source = self.work / "probes"
        source.write_text("\n".join(heads))
        other = body_of(gateway, key)
        before, started = gateway.process.cpu(), time.monotonic()
        load = subprocess.Popen(
            self._wrk(
                gateway,
                [head_of(gateway, key, other)],
                other,
                BACKGROUND_CONNECTIONS,
                self.seconds + 1,
                max(1.0, BACKGROUND_CONNECTIONS / background * 1e3 - 0.5),
            ),
            stdout=subprocess.DEVNULL,
            env={**os.environ, **running.LIBRARIES},
        )
        time.sleep(0.5)
        told = self.generate(
            mode="paced",
            port=gateway.port,
            rate=min(PROBES, background / 4),
            seconds=self.seconds,
            connections=LATE_CONNECTIONS,
            heads=str(source),
            body=body,
        )
        busy = (gateway.process.cpu() - before) / (time.monotonic() - started)
        load.wait(30)
        if not told["answered"] or told["failed"]:
            raise RuntimeError(f"{gateway.name} {case}: {told}")
        self.note(gateway, case, {"busy": busy, "background": background, **told})

    def note(self, gateway: Gateway, case: str, figures: dict[str, Any]) -> None:
        self.results.setdefault(gateway.name, {"version": gateway.version})[case] = figures
        print(f"  {gateway.name:<12} {case:<22} {_line(figures)}", flush=True)


def _line(figures: dict[str, Any]) -> str:
    names = {
        "cpu_us": "{:9.1f} us CPU",
        "per_second": "{:9.0f}/s",
        "busy": "{:4.0%} of a core",
        "p50_ms": "p50 {:.2f} ms",
        "p99_ms": "p99 {:.2f} ms",
        "bytes": "{:9.0f} bytes",
        "p50_us": "p50 {:.0f} us",
        "p99_us": "p99 {:.0f} us",
        "background": "beside {:.0f}/s",
        "chunk_us": "{:.2f} us CPU a chunk",
        "resident": "{:.0f} bytes resident",
    }
    return "  ".join(
        form.format(figures[name]) for name, form in names.items() if figures.get(name) is not None
    )


def fdatasync_us(directory: Path) -> float:
    """Median of one durable append of 1,500 bytes, the size of a decision's frame, on the disk the logs are on."""
    waits = []
    descriptor = os.open(directory / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(60):
            start = time.perf_counter()
            os.write(descriptor, b"x" * 1500)
            os.fdatasync(descriptor)
            waits.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
    return sorted(waits)[len(waits) // 2] * 1e6


def es256_us() -> float:
    """CPU of one ES256 verification, median of batches, by the library that the gateway uses."""
    key = ec.generate_private_key(ec.SECP256R1())
    text, algorithm = b"x" * 400, ec.ECDSA(hashes.SHA256())
    signature, public = key.sign(text, algorithm), key.public_key()
    times = []
    for _ in range(9):
        start = time.process_time()
        for _ in range(300):
            public.verify(signature, text, algorithm)
        times.append((time.process_time() - start) / 300)
    return sorted(times)[4] * 1e6


class _Goals:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def at_most(
        self, name: str, value: float | None, limit: float | None, unit: str = "", why: str = ""
    ) -> None:
        self._add(name, value, limit, unit, why, better=-1)

    def at_least(
        self, name: str, value: float | None, limit: float | None, unit: str = "", why: str = ""
    ) -> None:
        self._add(name, value, limit, unit, why, better=1)

    def not_measured(self, name: str, why: str) -> None:
        self.rows.append({"goal": name, "reached": None, "why": why})

    def _add(
        self, name: str, value: float | None, limit: float | None, unit: str, why: str, *, better: int
    ) -> None:
        if value is None or limit is None:
            self.not_measured(name, why or "not measured in this run")
            return
        reached = value * better >= limit * better
        missed = value / limit if better < 0 else limit / value
        self.rows.append(
            {
                "goal": name,
                "value": value,
                "limit": limit,
                "unit": unit,
                "reached": reached,
                "missed_by": missed,
            }
        )

    def show(self) -> None:
        print("\nGoals")
        for row in self.rows:
            if row["reached"] is None:
                print(f"  not measured  {row['goal']}: {row['why']}")
                continue
            said = "reached" if row["reached"] else f"missed by {(row['missed_by'] - 1):.0%}"
            print(f"  {said:<14}{row['goal']}: {row['value']:.2f} {row['unit']} (limit {row['limit']:.2f})")


def goals(results: dict[str, dict[str, Any]], sync_us: float, es256: float) -> _Goals:
    """Each goal of the gateway's speed against this run's figures."""

    def figure(name: str, case: str, field: str) -> float | None:
        return results.get(name, {}).get(case, {}).get(field)

    def ratio(case: str, field: str, peer: str) -> float | None:
        mine, other = figure("safeconduct", case, field), figure(peer, case, field)
        return mine / other if mine is not None and other else None

    found = _Goals()
    found.at_most("JSON answer, CPU x nginx", ratio("json", "cpu_us", "nginx"), 2.0)
    found.at_most("JSON answer, CPU x Envoy", ratio("json", "cpu_us", "envoy"), 0.7)
    found.at_least("requests per CPU-second x LiteLLM", ratio("json", "per_cpu_second", "litellm"), 200.0)
    found.at_most("relayed chunk, CPU x nginx", ratio("stream", "chunk_us", "nginx"), 1.5)
    found.at_most("100 kB body, CPU x nginx", ratio("body 100 kB", "cpu_us", "nginx"), 3.0)
    found.at_most("open stream", figure("safeconduct", "open stream", "bytes"), 20 * 1024, "bytes")
    for quantile, limit in (("p50_us", 300.0), ("p99_us", 2000.0)):
        mine, base = (
            figure("safeconduct", "half load", quantile),
            figure("upstream", "half load as safeconduct", quantile),
        )
        found.at_most(
            f"added {quantile[:3]} at half load, C0-C2",
            mine - base if mine is not None and base is not None else None,
            limit,
            "us",
        )
    mine, base = (
        figure("safeconduct", "half load C3", "p50_us"),
        figure("upstream", "half load as safeconduct", "p50_us"),
    )
    found.at_most(
        "added p50, C3 (by DPoP), of one fdatasync",
        (mine - base) / sync_us if mine is not None and base is not None else None,
        1.5,
        "x",
    )
    nginx = figure("nginx", "json", "cpu_us")
    found.at_most(
        "DPoP, CPU of (2 x nginx + one ES256 verification)",
        (figure("safeconduct", "dpop", "cpu_us") or 0) / (2 * nginx + es256)
        if nginx and figure("safeconduct", "dpop", "cpu_us")
        else None,
        1.2,
    )
    found.not_measured(
        "mTLS-bound token, CPU x nginx with TLS 1.3 and a client certificate",
        "the gateway has it, this bench does not measure it yet",
    )
    return found


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
    few = 8 if slow else CONNECTIONS
    first_answer(gateway)
    if not slow:
        # First, before other requests have left room in the heap that the streams could fill unseen.
        bench.held_streams(gateway, HELD)
    bench.full_load(gateway, "json", "json", connections=few)
    bench.full_load(gateway, "body 100 kB", "json", connections=few, size=BIG)
    bench.full_load(gateway, "stream", "stream", connections=4 if slow else STREAMS)
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


def run(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    bench = Bench(options, work)
    core, load = options.core, options.load_cores
    only = set(options.only.split(",")) if options.only else None
    skipped: dict[str, str] = {}
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
        sync_us, verify_us = fdatasync_us(work), es256_us()
        print(f"one fdatasync {sync_us:.0f} us, one ES256 verification {verify_us:.1f} us\n")
        makers = {
            "nginx": lambda: running.nginx(work, upstreams, KEY, core),
            "safeconduct": lambda: _ours(bench, upstreams),
            "envoy": lambda: running.envoy(work, upstreams, KEY, core),
            "litellm": lambda: running.litellm(work, upstreams, KEY, core),
            "portkey": lambda: running.portkey(work, upstreams, KEY, core),
        }
        for name, make in makers.items():
            if only is not None and name not in only:
                skipped[name] = "not asked for"
                continue
            made = make()
            if made is None:
                skipped[name] = "not installed (bench/peers/set-up)"
                print(f"  {name:<12} skipped: {skipped[name]}")
                continue
            gateway, instance = made if isinstance(made, tuple) else (made, None)
            try:
                print(f"  {gateway.name} {gateway.version}")
                measure(bench, gateway, slow=name in ("litellm", "portkey"))
                if name in ("nginx", "safeconduct"):
                    # The same probes and the same background load without a gateway between: what is left is added.
                    background = bench.results[name]["half load"]["background"]
                    body = body_of(direct, "late")
                    heads = [head_of(direct, "late", body)]
                    case = f"half load as {name}"
                    bench.half_load(direct, case, heads=heads, body=body, background=background)
                if instance is not None:
                    measure_ours(bench, instance, gateway)
            except RuntimeError as error:
                # A peer that fails must not hide the others' figures; ours must not pass unseen.
                if name == "safeconduct":
                    raise
                skipped[name] = f"failed: {str(error)[:500]}"
                print(f"  {name:<12} {skipped[name]}")
            finally:
                gateway.process.stop()
    finally:
        for process in started:
            process.stop()
    told = goals(bench.results, sync_us, verify_us)
    told.show()
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fdatasync_us": sync_us,
        "es256_us": verify_us,
        "figures": bench.results,
        "skipped": skipped,
        "goals": told.rows,
    }


def _ours(bench: Bench, upstreams: dict[str, int]) -> tuple[Gateway, MeasuredInstance]:
    instance = MeasuredInstance(bench.work, upstreams, bench.options.core, bench.options.load_cores)
    gateway = Gateway(
        "safeconduct",
        __version__,
        instance.serve(),
        instance.port,
        key=instance.key,
        model=lambda kind: instance.models[kind],
    )
    return gateway, instance


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two seconds a figure, nginx and ours only")
    parser.add_argument("--only", help="names, comma-separated: nginx safeconduct envoy litellm portkey")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--core", default="0", help="core of the gateway under test")
    parser.add_argument("--load-cores", default="1", help="cores of upstreams and load generators")
    parser.add_argument("--keep", type=Path, help="work below this directory and keep it")
    options = parser.parse_args()
    if options.quick:
        options.seconds = min(options.seconds, 2.0)
        options.only = options.only or "nginx,safeconduct"
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
