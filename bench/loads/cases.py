"""The cases that every gateway is measured by: full load, held streams, half load, and TLS with a client certificate.

Owns the requests, the generators' command lines and what is counted while they run. Says nothing about goals.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from peers import running
from peers.running import Gateway

HELD = 500
CONNECTIONS = 32
STREAMS = 128
LATE_CONNECTIONS = 64
PROBES = 300.0
BACKGROUND_CONNECTIONS = 64

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_LOADS = Path(__file__).resolve().parent


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
            str(_LOADS / "generator.py"),
            json.dumps(asked),
        ]

    # -- cases

    def full_load(self, gateway: Gateway, case: str, kind: str, *, connections: int, size: int = 0) -> None:
        body = body_of(gateway, kind, size)
        heads = [head_of(gateway, kind, body)]
        # Connections, caches and a compiler's warm-up are not what is measured.
        self.wrk(gateway, kind, heads, body, connections, 3 if gateway.name in ("litellm", "portkey") else 1)
        self.note(gateway, case, self.wrk(gateway, kind, heads, body, connections, self.seconds))

    def turn(
        self, gateway: Gateway, case: str, *, kind: str, connections: int, seconds: float, size: int = 0
    ) -> None:
        """One more short load of a case; its CPU per request is kept beside the long one's."""
        body = body_of(gateway, kind, size)
        told = self.wrk(gateway, kind, [head_of(gateway, kind, body)], body, connections, seconds)
        self._turned(gateway, case, told)

    def certificate_turn(
        self, gateway: Gateway, authorization: str | None, tls: dict[str, str], *, seconds: float
    ) -> None:
        """The same for the load over TLS."""
        self._turned(gateway, "mtls", self._certificate_load(gateway, authorization, tls, seconds, 0.2))

    def _turned(self, gateway: Gateway, case: str, told: dict[str, Any]) -> None:
        self.results[gateway.name][case].setdefault("turns_us", []).append(told["cpu_us"])
        print(f"  {gateway.name:<12} {case:<22} {_line(told)}  (in turns)", flush=True)

    def certificate_load(
        self, gateway: Gateway, case: str, authorization: str | None, tls: dict[str, str]
    ) -> None:
        """Full load by our own generator (wrk has no client certificates): `json` over kept TLS 1.3 connections."""
        self.note(gateway, case, self._certificate_load(gateway, authorization, tls, self.seconds, 1.0))

    def _certificate_load(
        self, gateway: Gateway, authorization: str | None, tls: dict[str, str], seconds: float, warm: float
    ) -> dict[str, Any]:
        body = body_of(gateway, "json")
        source = self.work / "heads-tls"
        source.write_text(head_of(gateway, "json", body, authorization=authorization))
        asked = {
            "mode": "full",
            "port": gateway.port,
            "connections": CONNECTIONS,
            "warm": warm,
            "seconds": seconds,
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
            told, errors = generator.communicate("\n", timeout=seconds + 60)
            meter.stop()
        if not ready or generator.returncode:
            raise RuntimeError(f"{gateway.name} over TLS: {errors}\n{gateway.process.tail()}")
        found = json.loads(told.splitlines()[-1])
        return {**meter.figures(found.pop("requests")), **found}

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
