"""What a gateway counts of itself, and how that is told to Prometheus (text format 0.0.4).

Owns counters that cost a request an addition each: plain numbers, folded only when somebody asks. Names follow the
OpenTelemetry semantic conventions for generative AI where these have one. Refuses content and identities: labels are routes,
registered models and providers, codes as callers are told them, never a subject, an organisation, a key or an address.
Belongs to one event loop; reading from another thread gives numbers that may be a request apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from safeconduct.gateway.admission import HANDSHAKES, SOURCE, TOTAL

OVERHEAD_SECONDS = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)
# Bounds that the conventions advise: gen_ai.client.operation.duration and gen_ai.client.token.usage.
DURATION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

Labels = tuple[tuple[str, str], ...]

GAUGES: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "safeconduct_open_requests": ("Permitted requests that have not ended.", sum),
    "safeconduct_connections": ("Client connections open at the gateway.", sum),
    "safeconduct_tls_handshakes": ("TLS handshakes under way at the gateway.", sum),
    "safeconduct_ready": ("1 when requests can be served, by every process that serves.", min),
    "safeconduct_decision_log_entries": ("Entries of the decision log, durable or not.", sum),
    "safeconduct_decision_log_durable_entries": ("Entries of the decision log that are durable.", sum),
    "safeconduct_state_position": ("Entries of the record in the oldest state that is enforced.", min),
    "safeconduct_processes": ("Processes that serve.", sum),
}
"""What is told of how things stand, by name: its help, and what the values of several processes come to."""


class HistogramCounts(msgspec.Struct, frozen=True):
    """A histogram as it stood."""

    counts: list[int]
    sum: float


class ModelCounts(msgspec.Struct, frozen=True):
    """What one model's answers on one route had come to. key: operation, provider, model."""

    key: tuple[str, str, str]
    ended: dict[str, int]
    duration: HistogramCounts
    input_tokens: HistogramCounts
    output_tokens: HistogramCounts


class MeasuresCounts(msgspec.Struct, frozen=True, kw_only=True):
    """All counters of a node at one moment, for another process."""

    overhead: HistogramCounts
    denials: dict[str, int]
    refusals: dict[str, int]
    failed_authentications: int
    refused_connections: dict[str, int]
    failed_handshakes: int
    models: list[ModelCounts]


class Histogram:
    """Counts by upper bound (inclusive), with their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def snapshot(self) -> HistogramCounts:
        """As it stands."""
        return HistogramCounts(list(self.counts), self.sum)

    def take_in(self, other: HistogramCounts) -> None:
        """Add what another counted. Does nothing when it has other bounds: another release's."""
        if len(other.counts) == len(self.counts):
            self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
            self.sum += other.sum

    def lines(self, name: str, labels: Labels = ()) -> Iterable[str]:
        """Its samples."""
        seen = 0
        for bound, count in zip((*(f"{each:g}" for each in self._bounds), "+Inf"), self.counts, strict=True):
            seen += count
            yield f"{name}_bucket{_labelled((*labels, ('le', bound)))} {seen}"
        yield f"{name}_sum{_labelled(labels)} {self.sum:.9g}"
        yield f"{name}_count{_labelled(labels)} {seen}"


class ModelMeasures:
    """What one model's answers on one route came to."""

    __slots__ = ("duration", "ended", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.duration = Histogram(DURATION_SECONDS)
        self.input_tokens = Histogram(TOKENS)
        self.output_tokens = Histogram(TOKENS)


class GatewayMeasures:
    """Counters of one gateway node."""

    def __init__(self) -> None:
        self.overhead = Histogram(OVERHEAD_SECONDS)
        self.denials: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        self.failed_authentications = 0
        self.refused_connections = dict.fromkeys((TOTAL, SOURCE, HANDSHAKES), 0)
        self.failed_handshakes = 0
        self._models: dict[tuple[str, str, str], ModelMeasures] = {}

    def denied(self, codes: Iterable[str]) -> None:
        """A denial was told. codes: those the caller was told."""
        for code in codes:
            self.denials[code] = self.denials.get(code, 0) + 1

    def refused(self, status: int) -> None:
        """A request was answered by the gateway itself without a decision, or instead of an upstream's answer."""
        name = str(status)
        self.refusals[name] = self.refusals.get(name, 0) + 1

    def ended(
        self,
        key: tuple[str, str, str],
        how: str,
        seconds: float,
        input_tokens: int | None,
        output_tokens: int | None,
    ) -> None:
        """A permitted request ended. key: operation, provider, model. how: as in its completion entry."""
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = ModelMeasures()
        model.ended[how] = model.ended.get(how, 0) + 1
        model.duration.add(seconds)
        if input_tokens is not None:
            model.input_tokens.add(input_tokens)
        if output_tokens is not None:
            model.output_tokens.add(output_tokens)

    def snapshot(self) -> MeasuresCounts:
        """As they stand. On the event loop that they belong to."""
        return MeasuresCounts(
            overhead=self.overhead.snapshot(),
            denials=dict(self.denials),
            refusals=dict(self.refusals),
            failed_authentications=self.failed_authentications,
            refused_connections=dict(self.refused_connections),
            failed_handshakes=self.failed_handshakes,
            models=[
                ModelCounts(
                    key,
                    dict(model.ended),
                    model.duration.snapshot(),
                    model.input_tokens.snapshot(),
                    model.output_tokens.snapshot(),
                )
                for key, model in self._models.items()
            ],
        )

    def take_in(self, other: MeasuresCounts) -> None:
        """Add what another process counted, or this one before it was started again."""
        self.overhead.take_in(other.overhead)
        for ours, theirs in (
            (self.denials, other.denials),
            (self.refusals, other.refusals),
            (self.refused_connections, other.refused_connections),
        ):
            _add(ours, theirs)
        self.failed_authentications += other.failed_authentications
        self.failed_handshakes += other.failed_handshakes
        for counted in other.models:
            model = self._models.setdefault(counted.key, ModelMeasures())
            _add(model.ended, counted.ended)
            model.duration.take_in(counted.duration)
            model.input_tokens.take_in(counted.input_tokens)
            model.output_tokens.take_in(counted.output_tokens)

    def exposition(self, gauges: Mapping[str, float] | None = None) -> str:
        """All of it as Prometheus text. gauges: how things stand, by the names of GAUGES."""
        lines: list[str] = []

        def begin(name: str, kind: str, told: str) -> None:
            lines.extend((f"# HELP {name} {told}", f"# TYPE {name} {kind}"))

        begin(
            "safeconduct_requests_total",
            "counter",
            "Permitted requests that ended, by how (completion entries).",
        )
        for key, model in sorted(self._models.items()):
            for how, count in sorted(model.ended.items()):
                lines.append(
                    f"safeconduct_requests_total{_labelled((*_model_labels(key), ('ended', how)))} {count}"
                )
        name = "gen_ai_client_operation_duration_seconds"
        begin(name, "histogram", "From the whole request to the end of its answer.")
        for key, model in sorted(self._models.items()):
            lines.extend(model.duration.lines(name, _model_labels(key)))
        begin("gen_ai_client_token_usage", "histogram", "Tokens per request, as the provider counted them.")
        for key, model in sorted(self._models.items()):
            for token_type, histogram in (("input", model.input_tokens), ("output", model.output_tokens)):
                labels = (*_model_labels(key), ("gen_ai_token_type", token_type))
                lines.extend(histogram.lines("gen_ai_client_token_usage", labels))
        begin("safeconduct_denials_total", "counter", "Denials by code, as callers were told.")
        for code, count in sorted(self.denials.items()):
            lines.append(f"safeconduct_denials_total{_labelled((('code', code),))} {count}")
        begin(
            "safeconduct_refusals_total",
            "counter",
            "Requests the gateway answered itself with an error, by status.",
        )
        for status, count in sorted(self.refusals.items()):
            lines.append(f"safeconduct_refusals_total{_labelled((('status', status),))} {count}")
        begin(
            "safeconduct_failed_authentications_total",
            "counter",
            "Requests whose credential was not accepted.",
        )
        lines.append(f"safeconduct_failed_authentications_total {self.failed_authentications}")
        begin(
            "safeconduct_connections_refused_total",
            "counter",
            "Connections that found no place: of all, of their source, or for their TLS handshake.",
        )
        for cause, count in sorted(self.refused_connections.items()):
            lines.append(f"safeconduct_connections_refused_total{_labelled((('cause', cause),))} {count}")
        begin(
            "safeconduct_tls_handshakes_failed_total",
            "counter",
            "TLS handshakes that did not come to their end: broken off, wrong, too slow, or ended for others.",
        )
        lines.append(f"safeconduct_tls_handshakes_failed_total {self.failed_handshakes}")
        begin(
            "safeconduct_overhead_seconds",
            "histogram",
            "Time a permitted request spent in this gateway before its first byte came out, waiting for the upstream left out.",
        )
        lines.extend(self.overhead.lines("safeconduct_overhead_seconds"))
        for name, value in sorted((gauges or {}).items()):
            begin(name, "gauge", GAUGES[name][0])
            lines.append(f"{name} {value:.12g}")
        return "\n".join(lines) + "\n"


def gauges_together(stands: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the gauges of several processes come to. With none that serves, nothing is ready."""
    found = {
        name: together([float(one[name]) for one in stands if name in one])
        for name, (_, together) in GAUGES.items()
        if any(name in one for one in stands)
    }
    return found or {"safeconduct_ready": 0, "safeconduct_processes": 0}


def _add(ours: dict[str, int], theirs: Mapping[str, int]) -> None:
    for name, count in theirs.items():
        ours[name] = ours.get(name, 0) + count


def _model_labels(key: tuple[str, str, str]) -> Labels:
    operation, provider, model = key
    return (
        ("gen_ai_operation_name", operation),
        ("gen_ai_provider_name", provider),
        ("gen_ai_request_model", model),
    )


def _labelled(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
