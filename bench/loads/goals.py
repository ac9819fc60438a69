"""The goals of the gateway's speed against one run's figures, and why each one that was missed was missed.

Nothing is explained that the run did not measure: what is said comes from the floor (the bare stack), from where the processor time
was spent, and from parts that were timed by themselves in the same run.
"""

from __future__ import annotations

import statistics
from typing import Any

FLOOR = "bare stack"
NO_FLOOR = "the floor was not in this run (bare)"


class Goals:
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
    """This run's figures, absent ones None, and what they say about why a goal was missed.

    Where gateways were loaded in turns, CPU is the median of the turns, and a ratio the median of the turns' ratios.
    """

    def __init__(self, results: dict[str, dict[str, Any]], chunks: int) -> None:
        self._results = results
        self._chunks = chunks

    def __call__(self, name: str, case: str, field: str = "cpu_us") -> float | None:
        if turns := self._turns(name, case, field):
            return statistics.median(turns)
        found = self._results.get(name, {}).get(case, {}).get(field)
        return None if found is None else float(found)

    def _turns(self, name: str, case: str, field: str) -> list[float]:
        parts = {"cpu_us": 1, "chunk_us": self._chunks}.get(field)
        turns = self._results.get(name, {}).get(case, {}).get("turns_us", [])
        return [each / parts for each in turns] if parts else []

    def ratio(self, case: str, field: str, name: str, peer: str) -> float | None:
        pairs = zip(self._turns(name, case, field), self._turns(peer, case, field), strict=False)
        if ratios := [one / other for one, other in pairs]:
            return statistics.median(ratios)
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
        mine, bare = (self._results.get(name, {}).get(case, {}) for name in ("safeconduct", FLOOR))
        if "others_us" not in mine:
            return ""
        beside = f" (bare stack: {bare['kernel_us']:.1f})" if "kernel_us" in bare else ""
        return (
            f"; of {mine['cpu_us']:.1f} us {mine['others_us']:.1f} are in threads beside the event loop's, "
            f"{mine['kernel_us']:.1f} in the kernel{beside}"
        )

    def waits(self, quantile: str) -> str:
        """What nginx and the floor add to the same probes, each at half its own load."""
        told = [
            f"{name} adds {found:.0f} us at half its own load"
            if found > 0
            else f"what {name} adds is lost in the noise of the probes without a gateway"
            for name in ("nginx", FLOOR)
            if (found := self.added(name, quantile)) is not None
        ]
        return ", ".join(told) or NO_FLOOR


def goals(
    results: dict[str, dict[str, Any]], *, sync_us: float, es256: float, digest: float, chunks: int
) -> Goals:
    """Each goal of the gateway's speed against this run's figures.

    sync_us, es256, digest: microseconds of one fdatasync, one ES256 verification, one HMAC over a large body. chunks: of a stream.
    """
    figure, ours = _Figures(results, chunks), "safeconduct"
    found = Goals()
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
            f"one fdatasync by itself took {sync_us:.0f} us{more}",
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
