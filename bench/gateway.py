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
import hmac
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from safeconduct import __version__

sys.path.insert(0, str(Path(__file__).resolve().parent))

from loads import upstream as upstream_module
from loads.certificates import Authority
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
FLOOR = "bare stack"
# Of its core, at full load: below that others had it.
QUIET = 0.7
NO_FLOOR = "the floor was not in this run (bare)"

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
        meter = _Meter(gateway)
        told = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **running.LIBRARIES}
        ).stdout
        meter.stop()
        requests = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
        if failed or not requests:
            raise RuntimeError(f"{gateway.name} {kind}: {told}\n{gateway.process.tail()}")
        quantiles = {
            name: float(value) * _UNITS[unit] * 1e3
            for name, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", told)
        }
        return {
            **meter.figures(requests),
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

    def certificate_load(
        self, gateway: Gateway, case: str, authorization: str | None, tls: dict[str, str]
    ) -> None:
        """Full load by our own generator (wrk has no client certificates): `json` over kept TLS 1.3 connections."""
        body = body_of(gateway, "json")
        source = self.work / "heads-tls"
        source.write_text(head_of(gateway, "json", body, authorization=authorization))
        asked = {
            "mode": "full",
            "port": gateway.port,
            "connections": CONNECTIONS,
            "warm": 1.0,
            "seconds": self.seconds,
            "heads": str(source),
            "body": body,
            "tls": tls,
        }
        with subprocess.Popen(
            self._generator(asked),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as generator:
            assert generator.stdout is not None
            # Connected, shaken hands and warm: what comes from here on is counted.
            ready = generator.stdout.readline()
            meter = _Meter(gateway)
            told, errors = generator.communicate("\n", timeout=self.seconds + 60)
            meter.stop()
        if not ready or generator.returncode:
            raise RuntimeError(f"{gateway.name} {case}: {errors}\n{gateway.process.tail()}")
        found = json.loads(told.splitlines()[-1])
        self.note(gateway, case, {**meter.figures(found.pop("requests")), **found})

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
        tls: dict[str, str] | None = None,
        authorization: str | None = None,
    ) -> None:
        """Waits of PROBES requests a second to the late upstream, while `background` others a second keep the core busy.

        tls: files of the client certificate that both loads present, with the token that is bound to it.
        """
        source = self.work / "probes"
        source.write_text("\n".join(heads))
        other = body_of(gateway, key)
        other_head = head_of(gateway, key, other, authorization=authorization)
        if tls is None:
            command = self._wrk(
                gateway,
                [other_head],
                other,
                BACKGROUND_CONNECTIONS,
                self.seconds + 1,
                max(1.0, BACKGROUND_CONNECTIONS / background * 1e3 - 0.5),
            )
        else:
            others = self.work / "background"
            others.write_text(other_head)
            asked = {"mode": "paced", "port": gateway.port, "rate": background, "seconds": self.seconds + 1}
            command = self._generator(
                {
                    **asked,
                    "connections": BACKGROUND_CONNECTIONS,
                    "heads": str(others),
                    "body": other,
                    "tls": tls,
                }
            )
        before, started = gateway.process.cpu(), time.monotonic()
        load = subprocess.Popen(
            command,
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
            tls=tls,
        )
        busy = (gateway.process.cpu() - before) / (time.monotonic() - started)
        load.wait(30)
        if not told["answered"] or told["failed"]:
            raise RuntimeError(f"{gateway.name} {case}: {told}")
        self.note(gateway, case, {"busy": busy, "background": background, **told})

    def note(self, gateway: Gateway, case: str, figures: dict[str, Any]) -> None:
        self.results.setdefault(gateway.name, {"version": gateway.version})[case] = figures
        print(f"  {gateway.name:<12} {case:<22} {_line(figures)}", flush=True)


class _Meter:
    """What a gateway's tree spends from now until `stop`."""

    def __init__(self, gateway: Gateway) -> None:
        self._process = gateway.process
        self._parts, self._cpu = self._process.parts(), self._process.cpu()
        self._started = time.monotonic()

    def stop(self) -> None:
        self._wall = time.monotonic() - self._started
        self._cpu = self._process.cpu() - self._cpu
        now = self._process.parts()
        self._parts = {name: now[name] - before for name, before in self._parts.items()}

    def figures(self, requests: int) -> dict[str, Any]:
        return {
            "requests": requests,
            "cpu_us": self._cpu / requests * 1e6,
            "others_us": self._parts["others"] / requests * 1e6,
            "kernel_us": self._parts["kernel"] / requests * 1e6,
            "per_cpu_second": requests / self._cpu,
            "per_second": requests / self._wall,
            "busy": self._cpu / self._wall,
        }


def _line(figures: dict[str, Any]) -> str:
    names = {
        "cpu_us": "{:9.1f} us CPU",
        "kernel_us": "{:.1f} in the kernel",
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


def hmac_us() -> float:
    """CPU of one HMAC-SHA-256 over a body of BIG bytes, median: a request's digest stands in its entry."""
    body, times = b"x" * BIG, []
    for _ in range(9):
        start = time.process_time()
        for _ in range(100):
            hmac.new(b"k" * 32, body, "sha256").digest()
        times.append((time.process_time() - start) / 100)
    return sorted(times)[4] * 1e6


class _Goals:
    """rows: goals and how they stand; beside: figures that are no goals, as (text, value)."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.beside: list[tuple[str, float]] = []

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
            self.not_measured(name, "not measured in this run")
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
                "why": "" if reached else why,
            }
        )

    def show(self) -> None:
        print("\nGoals")
        for row in self.rows:
            if row["reached"] is None:
                print(f"  not measured    {row['goal']}: {row['why']}")
                continue
            said = "reached" if row["reached"] else f"missed by {(row['missed_by'] - 1):.0%}"
            print(f"  {said:<16}{row['goal']}: {row['value']:.2f} {row['unit']} (limit {row['limit']:.2f})")
            if row["why"]:
                print(f"                  why: {row['why']}")
        if self.beside:
            print("\nBeside the goals")
        for name, value in self.beside:
            print(f"  {name}: {value:.2f}")


class _Figures:
    """This run's figures, absent ones None, and what they say about why a goal was missed."""

    def __init__(self, results: dict[str, dict[str, Any]]) -> None:
        self._results = results

    def __call__(self, name: str, case: str, field: str = "cpu_us") -> float | None:
        found = self._results.get(name, {}).get(case, {}).get(field)
        return None if found is None else float(found)

    def ratio(self, case: str, field: str, name: str, peer: str) -> float | None:
        one, other = self(name, case, field), self(peer, case, field)
        return one / other if one is not None and other else None

    def added(self, name: str, quantile: str, case: str = "half load") -> float | None:
        """Microseconds beyond the same probes without a gateway."""
        mine, base = self(name, case, quantile), self("upstream", f"half load as {name}", quantile)
        return mine - base if mine is not None and base is not None else None

    def floor(self, case: str, peer: str, field: str = "cpu_us", unit: str = "us") -> str:
        """How much of ours the bare stack alone would be, against a peer."""
        mine, bare, other = (
            self("safeconduct", case, field),
            self(FLOOR, case, field),
            self(peer, case, field),
        )
        if mine is None or bare is None or not other:
            return NO_FLOOR
        return (
            f"the bare stack alone is {bare / other:.2f} x {peer} ({bare:.1f} {unit} of {other:.1f}); "
            f"the product adds {mine - bare:.1f} {unit}"
        )

    def where(self, case: str) -> str:
        """In which threads and on which side of the kernel's border ours is spent."""
        mine, others, kernel = (
            self("safeconduct", case, field) for field in ("cpu_us", "others_us", "kernel_us")
        )
        if mine is None or others is None or kernel is None:
            return ""
        bare = self(FLOOR, case, "kernel_us")
        beside = f" (bare stack: {bare:.1f})" if bare is not None else ""
        return f"; of our {mine:.1f} us {others:.1f} are in threads beside the event loop's, {kernel:.1f} in the kernel{beside}"

    def waits(self, quantile: str) -> str:
        """What nginx and the floor add to the same probes, each at half its own load."""
        told = [
            f"{name} adds {found:.0f} us at half its own load"
            for name in ("nginx", FLOOR)
            if (found := self.added(name, quantile)) is not None
        ]
        return ", ".join(told) or NO_FLOOR


def goals(results: dict[str, dict[str, Any]], sync_us: float, es256: float, digest: float) -> _Goals:
    """Each goal of the gateway's speed against this run's figures."""
    figure, ours = _Figures(results), "safeconduct"
    found = _Goals()
    found.at_most(
        "JSON answer, CPU x nginx",
        figure.ratio("json", "cpu_us", ours, "nginx"),
        2.0,
        why=figure.floor("json", "nginx") + figure.where("json"),
    )
    found.at_most(
        "JSON answer, CPU x Envoy",
        figure.ratio("json", "cpu_us", ours, "envoy"),
        0.7,
        why=figure.floor("json", "envoy"),
    )
    bare_litellm = figure.ratio("json", "per_cpu_second", FLOOR, "litellm")
    found.at_least(
        "requests per CPU-second x LiteLLM",
        figure.ratio("json", "per_cpu_second", ours, "litellm"),
        200.0,
        why=NO_FLOOR if bare_litellm is None else f"the bare stack alone is {bare_litellm:.0f} x LiteLLM",
    )
    found.at_most(
        "relayed chunk, CPU x nginx",
        figure.ratio("stream", "chunk_us", ours, "nginx"),
        1.5,
        why=figure.floor("stream", "nginx", "chunk_us", "us a chunk") + figure.where("stream"),
    )
    found.at_most(
        "100 kB body, CPU x nginx",
        figure.ratio("body 100 kB", "cpu_us", ours, "nginx"),
        3.0,
        why=f"{figure.floor('body 100 kB', 'nginx')}; one HMAC-SHA-256 over such a body alone takes {digest:.1f} us",
    )
    bare_stream = figure(FLOOR, "open stream", "bytes")
    found.at_most(
        "open stream",
        figure(ours, "open stream", "bytes"),
        20 * 1024,
        "bytes",
        why=NO_FLOOR if bare_stream is None else f"the bare stack alone takes {bare_stream:.0f} bytes",
    )
    for quantile, limit in (("p50_us", 300.0), ("p99_us", 2000.0)):
        found.at_most(
            f"added {quantile[:3]} at half load, C0-C2",
            figure.added(ours, quantile),
            limit,
            "us",
            why=figure.waits(quantile),
        )
    c0 = figure.added(ours, "p50_us")
    for how, case, more in (
        ("a certificate", "half load C3 mTLS", ""),
        ("DPoP, shown apart", "half load C3", f" and one ES256 verification {es256:.0f} us"),
    ):
        mine, base = figure(ours, case, "p50_us"), figure("upstream", f"half load as {ours}", "p50_us")
        added = None if mine is None or base is None else mine - base
        found.at_most(
            f"added p50, C3 (by {how}), of one fdatasync",
            None if added is None else added / sync_us,
            1.5,
            "x",
            why=""
            if added is None or c0 is None
            else f"it adds {added:.0f} us; without waiting for the disk (C0-C2) the same run adds {c0:.0f} us, "
            f"one fdatasync on an idle disk takes {sync_us:.0f} us{more}",
        )
    nginx, proven, plain = figure("nginx", "json"), figure(ours, "dpop"), figure(ours, "json")
    found.at_most(
        "DPoP, CPU of (2 x nginx + one ES256 verification)",
        proven / (2 * nginx + es256) if nginx and proven else None,
        1.2,
        why=""
        if not (nginx and proven and plain)
        else f"{proven:.0f} us, of which {plain:.0f} are what a request with a gateway key costs and {es256:.0f} "
        f"the verification; {proven - plain - es256:.0f} us remain for the proof's parsing and the C3 write at once",
    )
    nginx_tls, bare_tls, ours_tls = (figure(name, "mtls") for name in ("nginx", FLOOR, ours))
    why = figure.floor("mtls", "nginx") + figure.where("mtls")
    # Below nothing it says only that the machine was busy.
    if nginx and nginx_tls and ours_tls and plain and nginx_tls > nginx and ours_tls > plain:
        told = [f"nginx {nginx_tls - nginx:.1f} us", f"ours {ours_tls - plain:.1f}"]
        if bare_tls and (bare := figure(FLOOR, "json")):
            told.insert(1, f"the bare stack {bare_tls - bare:.1f}")
        why += f"; TLS and the certificate instead of a key cost {', '.join(told)}"
    found.at_most(
        "token bound to a client certificate, CPU x nginx with TLS 1.3 and a client certificate",
        figure.ratio("mtls", "cpu_us", ours, "nginx"),
        2.0,
        why=why,
    )
    for text, case, field in (
        ("JSON answer", "json", "cpu_us"),
        ("100 kB body", "body 100 kB", "cpu_us"),
        ("relayed chunk", "stream", "chunk_us"),
        ("token bound to a client certificate", "mtls", "cpu_us"),
        ("open stream, memory", "open stream", "bytes"),
    ):
        for one, other in ((ours, FLOOR), (FLOOR, "nginx")):
            if (value := figure.ratio(case, field, one, other)) is not None:
                found.beside.append((f"{text}, {'ours' if one == ours else one} / {other}", value))
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
                    measure_ours(self.bench, instance, gateway)

    def certificates(self) -> None:
        """The same three with TLS 1.3 and a client certificate."""
        work, core = self.bench.work, self.bench.options.core
        certificate, key = self.authority.client("client")
        client = {"ca": str(self.authority.ca), "certificate": str(certificate), "key": str(key)}
        server = {
            "certificate": self.authority.certificate,
            "key": self.authority.key,
            "clients": self.authority.ca,
        }
        for name, make in (("nginx", running.nginx), ("bare", running.bare)):
            if self.only is None or name in self.only:
                gateway = make(work, self.upstreams, KEY, core, tls=server)
                assert gateway is not None
                with self._guarded(name, gateway):
                    measure_certificates(self.bench, gateway, None, client)
        if self.only is None or "safeconduct" in self.only:
            gateway, instance = _ours(self.bench, self.upstreams, self.authority)
            with self._guarded("safeconduct", gateway):
                authorization, client = instance.certificate_token()
                measure_certificates(self.bench, gateway, authorization, client)

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
        sync_us, verify_us, digest_us = fdatasync_us(work), es256_us(), hmac_us()
        print(
            f"one fdatasync {sync_us:.0f} us, one ES256 verification {verify_us:.1f} us, "
            f"one HMAC-SHA-256 over {BIG // 1000} kB {digest_us:.1f} us; load {os.getloadavg()[0]:.2f}\n"
        )
        one = _Run(bench, upstreams, direct, set(options.only.split(",")) if options.only else None)
        one.peers()
        one.certificates()
    finally:
        for process in started:
            process.stop()
    told = goals(bench.results, sync_us, verify_us, digest_us)
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


def _ours(
    bench: Bench, upstreams: dict[str, int], authority: Authority | None = None
) -> tuple[Gateway, MeasuredInstance]:
    instance = MeasuredInstance(
        bench.work, upstreams, bench.options.core, bench.options.load_cores, authority=authority
    )
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
    parser.add_argument(
        "--quick", action="store_true", help="two seconds a figure, nginx, the floor and ours only"
    )
    parser.add_argument("--only", help="names, comma-separated: nginx bare safeconduct envoy litellm portkey")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--core", default="0", help="core of the gateway under test")
    parser.add_argument("--load-cores", default="1", help="cores of upstreams and load generators")
    parser.add_argument("--keep", type=Path, help="work below this directory and keep it")
    options = parser.parse_args()
    if options.quick:
        options.seconds = min(options.seconds, 2.0)
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
