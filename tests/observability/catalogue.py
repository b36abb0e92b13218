"""The metrics that a relay exposes: the contract that code, rules, dashboard and docs are held to.

Names, labels and buckets are written out here once more, on purpose: whoever changes the relay's
metrics finds out by a failing test what reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram", "info"]

_FIRST: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0)
_OVERHEAD: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
_HOP_OVERHEAD: Final = (*_OVERHEAD, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Metric:
    """A metric as it is exposed."""

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    only_with: Literal["costs", "ledger", "limits", "traces"] | None = None
    """The part of the configuration that it is there with."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus holds it."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))


METRICS: Final = (
    Metric("relay_requests_total", "counter", ("relay", "client", "operation", "code", "outcome")),
    Metric("relay_requests_in_flight", "gauge", ("relay",)),
    Metric(
        "relay_request_duration_seconds",
        "histogram",
        ("relay", "operation", "outcome_class"),
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200),
    ),
    Metric("relay_time_to_first_byte_seconds", "histogram", ("relay",), _FIRST),
    Metric("relay_time_to_first_token_seconds", "histogram", ("relay", "model"), _FIRST),
    Metric(
        "relay_time_per_output_token_seconds",
        "histogram",
        ("relay", "model"),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
    ),
    Metric(
        "relay_stream_max_gap_seconds", "histogram", ("relay",), (0.1, 1, 5, 10, 15, 30, 60, 120)
    ),
    Metric(
        "relay_overhead_seconds",
        "histogram",
        ("relay", "phase"),
        _OVERHEAD,
    ),
    Metric("relay_tokens_total", "counter", ("relay", "client", "model", "type")),
    Metric("relay_reasoning_tokens_total", "counter", ("relay", "model")),
    Metric("relay_server_tool_requests_total", "counter", ("relay", "tool")),
    Metric("relay_usage_missing_total", "counter", ("relay", "reason")),
    Metric("relay_upstream_errors_total", "counter", ("relay", "error_type", "where")),
    Metric("relay_stop_reasons_total", "counter", ("relay", "reason")),
    Metric("relay_rejections_total", "counter", ("reason",)),
    Metric("relay_ratelimit_limit", "gauge", ("relay", "kind")),
    Metric("relay_ratelimit_remaining", "gauge", ("relay", "kind")),
    Metric("relay_ratelimit_reset_timestamp_seconds", "gauge", ("relay", "kind")),
    Metric("relay_quota_utilization_ratio", "gauge", ("relay", "window")),
    Metric("relay_quota_reset_timestamp_seconds", "gauge", ("relay", "window")),
    Metric("relay_credential_ready", "gauge", ("relay", "grant")),
    Metric("relay_credential_refused", "gauge", ("relay", "grant")),
    Metric("relay_credential_expiry_timestamp_seconds", "gauge", ("relay", "grant")),
    Metric("relay_credential_reloads_total", "counter", ("grant", "result")),
    Metric("relay_config_reloads_total", "counter", ("result",)),
    Metric("relay_config_last_reload_timestamp_seconds", "gauge"),
    Metric("relay_upstream_up", "gauge", ("relay",)),
    Metric("relay_upstream_connections", "gauge", ("relay", "state")),
    Metric("relay_request_bytes_total", "counter", ("relay",)),
    Metric("relay_response_bytes_total", "counter", ("relay",)),
    Metric(
        "relay_event_loop_lag_seconds",
        "histogram",
        (),
        (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    ),
    Metric("relay_log_lines_dropped_total", "counter"),
    Metric("relay_hop_calls_total", "counter", ("relay", "hop", "outcome")),
    Metric("relay_hop_legs_total", "counter", ("relay", "hop", "operation")),
    Metric("relay_hop_overhead_seconds", "histogram", ("relay", "hop", "phase"), _HOP_OVERHEAD),
    Metric("relay_hop_request_bytes_total", "counter", ("relay", "hop", "side")),
    Metric("relay_hop_up", "gauge", ("relay", "hop")),
    Metric("relay_build_info", "info", ("version",)),
    Metric("relay_upstream_info", "info", ("relay", "upstream")),
    *(
        Metric(name, "counter", ("relay", "client", "model"), only_with="costs")
        for name in ("relay_estimated_cost_usd_total", "relay_unpriced_requests_total")
    ),
    Metric("relay_ledger_dropped_total", "counter", only_with="ledger"),
    Metric("relay_trace_spans_dropped_total", "counter", only_with="traces"),
    Metric("relay_limit_used_ratio", "gauge", ("client", "limit"), only_with="limits"),
    Metric("relay_limit_warn_ratio", "gauge", ("client", "limit"), only_with="limits"),
    Metric("relay_limit_reached_total", "counter", ("client", "limit"), only_with="limits"),
)
SERIES: Final = frozenset(name for metric in METRICS for name in metric.series)
