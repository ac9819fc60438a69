"""What a gateway counts of itself, and how that is told to Prometheus (text format 0.0.4).

Owns counters that cost a request an addition each: plain numbers, folded only when somebody asks. Names follow the
OpenTelemetry semantic conventions for generative AI where these have one. Refuses content and identities: labels are routes,
registered models and providers, codes as callers are told them, never a subject, an organisation, a key or an address.
Belongs to one event loop; reading from another thread gives numbers that may be a request apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from safeconduct.gateway.admission import HANDSHAKES, SOURCE, TOTAL

OVERHEAD_SECONDS = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)
# Bounds that the conventions advise: gen_ai.client.operation.duration and gen_ai.client.token.usage.
DURATION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

Labels = tuple[tuple[str, str], ...]


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

    def exposition(self, gauges: Mapping[str, tuple[str, float]] | None = None) -> str:
        """All of it as Prometheus text. gauges: further values by name, each with its help."""
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
        for name, (told, value) in sorted((gauges or {}).items()):
            begin(name, "gauge", told)
            lines.append(f"{name} {value:.12g}")
        return "\n".join(lines) + "\n"


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
