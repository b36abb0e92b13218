"""An HTTP exposition of made-up but plausible samples of every metric, with every label.

It stands in for a relay: each scrape finds some calls more than the one before. A relay is well,
or it is in all the trouble that there are alerts for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Final

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    start_http_server,
)
from prometheus_client.registry import Collector

from tests.observability.catalogue import METRICS

RELAYS: Final = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-5"}
CLIENTS: Final = ("agent", "ci")
_OPERATIONS: Final = {
    "anthropic": ("messages", "count_tokens", "models"),
    "openai": ("chat_completions", "responses", "embeddings"),
}
_ENDS: Final = (
    *(("none", outcome) for outcome in ("connect_error", "timeout", "rejected")),
    *(("none", outcome) for outcome in ("internal_error", "no_credential")),
    ("401", "hop_bypass"),
    *(("200", outcome) for outcome in ("stream_error", "truncated")),
    *((code, "upstream_error") for code in ("400", "401", "403", "429", "500", "529")),
)
_TOKENS: Final = {
    "input": 1200,
    "cache_read": 30000,
    "cache_write_5m": 2000,
    "cache_write_1h": 500,
    "cache_write_unknown": 100,
    "output": 900,
}
_MISSING: Final = ("client_abort", "truncated", "encoding", "parse", "too_large", "absent")
_HOP_TROUBLE: Final = ("answered", "refused", "skipped", "unreachable", "broken", "bypass")
_REJECTIONS: Final = (
    *("token", "host", "origin", "target", "path", "relay", "framing", "too_large", "draining"),
    *("limit", "pass", "leg"),
)


class Relay(Collector):
    """A pretended relay: its registry, and the calls that it makes up at each scrape."""

    def __init__(self, *, troubled: bool) -> None:
        self.registry = CollectorRegistry()
        self._troubled = troubled
        self._scrapes = 0
        self._began = time.time()
        self.registry.register(self)  # the first, so that its calls are in the same scrape
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS:
            name, labels, registry = metric.name, metric.labels, self.registry
            if metric.kind == "counter":
                self._counters[name] = Counter(name, "Made up.", labels, registry=registry)
            elif metric.kind == "histogram":
                self._histograms[name] = Histogram(
                    name, "Made up.", labels, registry=registry, buckets=metric.buckets
                )
            else:
                self._gauges[name] = Gauge(name, "Made up.", labels, registry=registry)

    def describe(self) -> Iterable[Metric]:
        """Tell the registry that no metric is this collector's own."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Make some calls, for a scrape is on its way."""
        self._scrapes += 1
        for relay, model in RELAYS.items():
            for client in CLIENTS:
                self._call(relay, client, model)
            self._measure(relay, model)
            self._state(relay)
            self._pass_hop(relay, "headroom")
        self._own_state()
        return []

    def _count(self, name: str, amount: float, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def _set(self, name: str, value: float, *labels: str) -> None:
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def _call(self, relay: str, client: str, model: str) -> None:
        trouble = int(self._troubled)
        for operation in _OPERATIONS[relay]:
            key = (relay, client, operation)
            self._count("relay_requests_total", 40, *key, "200", "ok")
            self._count("relay_requests_total", 2, *key, "200", "client_abort")
            for code, outcome in _ENDS:
                self._count("relay_requests_total", trouble, *key, code, outcome)
        for kind, amount in _TOKENS.items():
            self._count("relay_tokens_total", amount, relay, client, model, kind)
        self._count("relay_estimated_cost_usd_total", 0.02, relay, client, model)
        self._count("relay_unpriced_requests_total", trouble, relay, client, model)

    def _measure(self, relay: str, model: str) -> None:
        slow = self._troubled
        observed: list[tuple[str, float, tuple[str, ...]]] = [
            ("relay_time_to_first_byte_seconds", 20 if slow else 0.8, (relay,)),
            ("relay_time_to_first_token_seconds", 25 if slow else 1.2, (relay, model)),
            ("relay_time_per_output_token_seconds", 0.3 if slow else 0.015, (relay, model)),
            ("relay_stream_max_gap_seconds", 90 if slow else 0.4, (relay,)),
            ("relay_overhead_seconds", 0.08 if slow else 0.0008, (relay, "request")),
            ("relay_overhead_seconds", 0.00009, (relay, "chunk")),
        ]
        for operation in _OPERATIONS[relay]:
            for outcome_class in ("ok", "error"):
                key = (relay, operation, outcome_class)
                observed.append(("relay_request_duration_seconds", 12, key))
        for name, value, labels in observed:
            self._histograms[name].labels(*labels).observe(value)

    def _state(self, relay: str) -> None:
        trouble = int(self._troubled)
        for reason in _MISSING:
            self._count("relay_usage_missing_total", 5 * trouble, relay, reason)
        for kind in ("rate_limit_error", "overloaded_error", "authentication_error", "other"):
            for where in ("http", "stream"):
                self._count("relay_upstream_errors_total", trouble, relay, kind, where)
        for reason in ("end_turn", "tool_use", "max_tokens", "other"):
            self._count("relay_stop_reasons_total", 3, relay, reason)
        self._count("relay_reasoning_tokens_total", 70, relay, RELAYS[relay])
        for tool in ("web_search", "web_fetch"):
            self._count("relay_server_tool_requests_total", 1, relay, tool)
        self._count("relay_request_bytes_total", 90_000, relay)
        self._count("relay_response_bytes_total", 40_000, relay)
        self._limits(relay)
        self._set("relay_requests_in_flight", 3, relay)
        self._set("relay_credential_ready", 1, relay, relay)
        self._set("relay_credential_refused", trouble, relay, relay)
        end = self._began + (60 if trouble else 3_600)
        self._set("relay_credential_expiry_timestamp_seconds", end, relay, relay)
        self._set("relay_upstream_up", 1 - trouble, relay)
        self._set("relay_upstream_connections", 3, relay, "active")
        self._set("relay_upstream_connections", 1, relay, "idle")
        self._set("relay_upstream_info", 1, relay, "http://localhost:8787")

    def _pass_hop(self, relay: str, hop: str) -> None:
        trouble = int(self._troubled)
        self._count("relay_hop_calls_total", 40, relay, hop, "passed")
        for outcome in _HOP_TROUBLE:
            self._count("relay_hop_calls_total", trouble, relay, hop, outcome)
        for operation in _OPERATIONS[relay]:
            self._count("relay_hop_legs_total", 13 + 13 * trouble, relay, hop, operation)
        for phase, seconds in (("request", 0.03), ("response", 0.002)):
            overhead = self._histograms["relay_hop_overhead_seconds"]
            overhead.labels(relay, hop, phase).observe(seconds)
        for side, size in (("in", 90_000), ("out", 40_000)):
            self._count("relay_hop_request_bytes_total", size, relay, hop, side)
        self._set("relay_hop_up", 1 - trouble, relay, hop)

    def _limits(self, relay: str) -> None:
        soon = time.time() + 3600
        for kind in ("requests", "input_tokens", "output_tokens"):
            self._set("relay_ratelimit_limit", 4000, relay, kind)
            self._set("relay_ratelimit_remaining", 3000, relay, kind)
            self._set("relay_ratelimit_reset_timestamp_seconds", soon, relay, kind)
        spent = 0.92 + 0.0001 * self._scrapes if self._troubled else 0.3
        for window in ("5h", "7d"):
            self._set("relay_quota_utilization_ratio", spent, relay, window)
            self._set("relay_quota_reset_timestamp_seconds", soon, relay, window)

    def _own_state(self) -> None:
        for reason in _REJECTIONS:
            self._count("relay_rejections_total", 1, reason)
        for result in ("changed", "unchanged", "failed"):
            self._count("relay_credential_reloads_total", 1, "anthropic", result)
        for result in ("success", "failure"):
            self._count("relay_config_reloads_total", 1, result)
        self._set("relay_config_last_reload_timestamp_seconds", time.time() - 600)
        self._count("relay_log_lines_dropped_total", int(self._troubled))
        self._count("relay_ledger_dropped_total", 0)
        self._count("relay_trace_spans_dropped_total", 0)
        used, reached = (1.0, 1) if self._troubled else (0.4, 0)
        for client, limit in (("agent", "usd_day"), ("agent", "usd_session"), ("all", "usd_month")):
            near = 0.9 if client == "all" and self._troubled else used
            self._set("relay_limit_used_ratio", near, client, limit)
            self._set("relay_limit_warn_ratio", 0.8, client, limit)
            self._count("relay_limit_reached_total", reached, client, limit)
        self._histograms["relay_event_loop_lag_seconds"].observe(0.001)
        self._set("relay_build_info", 1, "1.0.0")


@contextlib.contextmanager
def served(registry: CollectorRegistry) -> Iterator[int]:
    """Serve a registry on a loopback port of its own, which is returned."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
