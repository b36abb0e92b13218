"""The metrics of every relay: names, labels, buckets. A contract with dashboards and alerts.

Those that only a section of agent.yaml brings, and those of hops, have modules of their own.

Source of the names' form: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Info

from relay import __version__
from relay.telemetry.call import UNKNOWN
from relay.telemetry.histogram import OVERHEAD_BOUNDS
from relay.telemetry.metrics.families import Families, make_cells
from relay.telemetry.metrics.hops import HopMetrics
from relay.telemetry.metrics.states import RelayState
from relay.telemetry.operations import OPERATIONS_BY_API
from relay.telemetry.usage import SERVER_TOOLS

DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
FIRST_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
PER_TOKEN_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
GAP_BUCKETS: Final = (0.1, 1, 5, 10, 15, 30, 60, 120)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

REJECTIONS: Final = (
    *("token", "host", "origin", "target", "path"),
    *("relay", "framing", "too_large", "draining"),
    *("limit", "pass", "leg"),
)
MISSING_REASONS: Final = ("client_abort", "truncated", "encoding", "parse", "too_large", "absent")
RELOAD_RESULTS: Final = ("changed", "unchanged", "failed")
FREQUENT_ERRORS: Final = (
    *("rate_limit_error", "overloaded_error", "api_error", "authentication_error"),
    "other",
)

_ERROR_CODES: Final = ("400", "401", "403", "404", "413", "429", "500", "502", "503", "529")
_ENDS_FROM_THE_START: Final = (
    ("ok", "200"),
    ("stream_error", "200"),
    ("truncated", "200"),
    ("connect_error", UNKNOWN),
    ("timeout", UNKNOWN),
    ("client_abort", "200"),
    ("client_abort", UNKNOWN),
    ("rejected", UNKNOWN),
    ("internal_error", UNKNOWN),
    ("no_credential", UNKNOWN),
    *(("upstream_error", code) for code in _ERROR_CODES),
)
# Of a relay with hops: one that goes past it is told so by the API, which gets a pass.
_ENDS_WITH_HOPS: Final = (("hop_bypass", "401"),)


class Catalogue:
    """The metrics on a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = Families(registry)
        counter, gauge, histogram = families.counter, families.gauge, families.histogram
        self.requests = counter(
            "relay_requests_total",
            "Calls that are over, by what became of them.",
            *("relay", "client", "operation", "code", "outcome"),
        )
        self.in_flight = gauge("relay_requests_in_flight", "Calls that run now.", "relay")
        self.duration = families.histogram_with_exemplars(
            "relay_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            DURATION_BUCKETS,
            *("relay", "operation", "outcome_class"),
        )
        self.first_byte = histogram(
            "relay_time_to_first_byte_seconds",
            "Time from a request's head to the response's.",
            FIRST_BUCKETS,
            "relay",
        )
        self.first_token = histogram(
            "relay_time_to_first_token_seconds",
            "Time from a request's head to the first piece of content in its stream.",
            FIRST_BUCKETS,
            *("relay", "model"),
        )
        self.per_token = histogram(
            "relay_time_per_output_token_seconds",
            "Time for each output token after the first.",
            PER_TOKEN_BUCKETS,
            *("relay", "model"),
        )
        self.max_gap = histogram(
            "relay_stream_max_gap_seconds",
            "The longest silence within a stream.",
            GAP_BUCKETS,
            "relay",
        )
        self.overhead = histogram(
            "relay_overhead_seconds",
            "The relay's own share: of a request until it goes out, and of each piece.",
            OVERHEAD_BOUNDS,
            *("relay", "phase"),
        )
        self.tokens = counter(
            "relay_tokens_total",
            "Tokens as the API counted them; the types are disjoint.",
            *("relay", "client", "model", "type"),
        )
        self.reasoning = counter(
            "relay_reasoning_tokens_total",
            "Output tokens that went into reasoning: a part of the output, not beside it.",
            *("relay", "model"),
        )
        self.server_tools = counter(
            "relay_server_tool_requests_total",
            "Requests that the API's own tools made.",
            *("relay", "tool"),
        )
        self.usage_missing = counter(
            "relay_usage_missing_total",
            "Answers whose usage could not be read, by reason.",
            *("relay", "reason"),
        )
        self.upstream_errors = counter(
            "relay_upstream_errors_total",
            "Errors of the API, by its own type: as an answer, or within a stream.",
            *("relay", "error_type", "where"),
        )
        self.stop_reasons = counter(
            "relay_stop_reasons_total", "Why answers ended.", "relay", "reason"
        )
        self.rejections = counter(
            "relay_rejections_total", "Calls that the relay refused.", "reason"
        )
        self.ready = gauge(
            "relay_credential_ready",
            "Whether the relay's grant has a value (1) or not (0).",
            *("relay", "grant"),
        )
        self.refused = gauge(
            "relay_credential_refused",
            "Whether the API's last answer to the grant's value refused it (1) or not (0).",
            *("relay", "grant"),
        )
        self.expiry = gauge(
            "relay_credential_expiry_timestamp_seconds",
            "When the grant's value ends, where it says so.",
            *("relay", "grant"),
        )
        self.credential_reloads = counter(
            "relay_credential_reloads_total",
            "Times that a credential's source was read again.",
            *("grant", "result"),
        )
        self.config_reloads = counter(
            "relay_config_reloads_total", "Times that the configuration was reloaded.", "result"
        )
        self.last_reload = gauge(
            "relay_config_last_reload_timestamp_seconds",
            "When the configuration in force was loaded.",
        )[()]
        self.up = gauge(
            "relay_upstream_up",
            "Whether the upstream could be reached (1) or not (0) when last tried.",
            "relay",
        )
        self.connections = gauge(
            "relay_upstream_connections", "Connections to the upstream.", "relay", "state"
        )
        self.request_bytes = counter(
            "relay_request_bytes_total", "Bytes of request bodies, as they crossed.", "relay"
        )
        self.response_bytes = counter(
            "relay_response_bytes_total", "Bytes of answers' bodies, as they crossed.", "relay"
        )
        self.loop_lag = histogram(
            "relay_event_loop_lag_seconds",
            "How late the event loop was, twice a second.",
            LAG_BUCKETS,
        )[()]
        self.log_lines_dropped = counter(
            "relay_log_lines_dropped_total", "Lines of the log that nobody took in time."
        )[()]
        Info("relay_build", "The relay's version.", registry=registry).info(
            {"version": __version__}
        )
        self.upstream_info = Info(
            "relay_upstream", "Where a relay forwards to.", ["relay"], registry=registry
        )
        self.hops = HopMetrics(families)
        make_cells(self.rejections, REJECTIONS)
        make_cells(self.config_reloads, ("success", "failure"))
        self.make_requests(UNKNOWN, UNKNOWN, ["other"], [("rejected", UNKNOWN)])

    def make_children(self, state: RelayState, clients: Iterable[str]) -> None:
        """Make a relay's children, so that rate() sees a first failure."""
        relay, grant, operations = state.relay, state.grant, OPERATIONS_BY_API[state.api]
        ends = _ENDS_FROM_THE_START + (_ENDS_WITH_HOPS if state.hops else ())
        for client in clients:
            self.make_requests(relay, client, operations, ends)
        self.hops.make_children(relay, state.api, [hop.name for hop in state.hops])
        # A call whose token was refused belongs to no client.
        self.make_requests(relay, UNKNOWN, operations, [("rejected", UNKNOWN)])
        make_cells(self.duration, [relay], operations, ("ok", "error"))
        make_cells(self.upstream_errors, [relay], FREQUENT_ERRORS, ("http", "stream"))
        make_cells(self.usage_missing, [relay], MISSING_REASONS)
        make_cells(self.server_tools, [relay], SERVER_TOOLS)
        make_cells(self.credential_reloads, [grant], RELOAD_RESULTS)
        make_cells(self.connections, [relay], ("idle", "active"))
        make_cells(self.overhead, [relay], ("request", "chunk"))
        for numbers in (self.in_flight, self.request_bytes, self.response_bytes):
            make_cells(numbers, [relay])
        for histogram in (self.first_byte, self.max_gap):
            make_cells(histogram, [relay])

    def make_requests(
        self, relay: str, client: str, operations: Iterable[str], ends: Sequence[tuple[str, str]]
    ) -> None:
        """Make children of relay_requests_total for each pair of an outcome and a code."""
        for operation in operations:
            for outcome, code in ends:
                make_cells(self.requests, [relay], [client], [operation], [code], [outcome])
