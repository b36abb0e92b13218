"""What a running relay says of itself, for the report: /readyz, /metrics and the last calls.

Of metrics, those that say how calls end and how the process is; of calls, when, by which relay, how
long and how they ended. Clients, sessions, paths and ids are left out.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from relay.commands import CommandError
from relay.commands.admin_address import page_url
from relay.commands.client import Answer, Client
from relay.commands.doctor.findings import quote
from relay.commands.report.redaction import looks_random
from relay.config import ListenAddress

Section = tuple[str, list[str]]
"""A heading and the lines below it."""

# Some hundred calls, or some thousand samples.
_PAGE_LIMIT_BYTES: Final = 16 * 1024 * 1024
# Labels that say what a sample is of, and nothing of whom.
_LABELS: Final = (
    *("relay", "operation", "outcome", "code", "hop", "grant", "state", "result", "reason"),
    "version",
)
_SAMPLES: Final = (
    *("relay_build_info", "relay_requests_total", "relay_requests_in_flight"),
    *("relay_rejections_total", "relay_upstream_errors_total", "relay_upstream_up"),
    *("relay_upstream_connections", "relay_hop_up", "relay_hop_calls_total"),
    *("relay_credential_ready", "relay_credential_refused", "relay_credential_reloads_total"),
    *("relay_config_reloads_total", "relay_limit_reached_total", "relay_ledger_dropped_total"),
    *("relay_log_lines_dropped_total", "relay_usage_missing_total"),
    *("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"),
    *("process_max_fds", "process_start_time_seconds"),
)
# Names, words and figures of a call; what agents and APIs call things is shown where it is a name.
_WORDS: Final = ("relay", "operation", "model", "status", "outcome", "reason", "error_type", "tier")
_FIGURES: Final = ("duration", "first_byte", "first_token", "max_gap", "legs")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")


async def look(admin: ListenAddress) -> list[Section]:
    """Return the sections; one that cannot be had says why."""
    async with Client() as http:
        pages = {page: await _page(http, admin, page) for page in ("/readyz", "/metrics", "/calls")}
    return [
        ("/readyz", _readiness(pages["/readyz"])),
        ("/metrics, in short", _told(pages["/metrics"], _metrics)),
        ("the last calls, without content", _told(pages["/calls"], _calls)),
    ]


async def _page(http: Client, admin: ListenAddress, page: str) -> Answer | str:
    try:
        return await http.ask("GET", page_url(admin, page), limit=_PAGE_LIMIT_BYTES)
    except CommandError as error:
        return str(error)


def _readiness(page: Answer | str) -> list[str]:
    return [page] if isinstance(page, str) else [str(page.status), *_lines(page.body)]


def _lines(body: bytes) -> list[str]:
    """Return another's text as lines of plain ASCII."""
    return [quote(line, 500) for line in body.splitlines()]


def _told(page: Answer | str, tell: Callable[[str], Iterator[str]]) -> list[str]:
    if isinstance(page, str):
        return [page]
    try:
        return list(tell(page.body.decode())) or ["(none)"]
    except (ValueError, TypeError, AttributeError):
        return [f"what answers there has no such page: it said {page.status}"]


def _metrics(text: str) -> Iterator[str]:
    """Yield the sums of samples, without the labels that say whose they are."""
    sums: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in _SAMPLES and sample.value:
                sums[f"{sample.name}{_shown_labels(sample.labels)}"] += sample.value
    yield from (f"{name} {value:g}" for name, value in sorted(sums.items()))


def _shown_labels(labels: Mapping[str, str]) -> str:
    shown = ", ".join(f"{key}={_name(labels[key])}" for key in _LABELS if labels.get(key))
    return f" {{{shown}}}" if shown else ""


def _calls(text: str) -> Iterator[str]:
    """Yield a line for each call: in flight, then those that are over, the latest first."""
    page = json.loads(text)
    for call in page["in_flight"]:
        yield f"in flight  {_call(call)}"
    for call in reversed(page["recent"]):
        ended = datetime.fromtimestamp(call["finished"], UTC)
        yield f"{ended:%H:%M:%S}   {_call(call)}"


def _call(call: Mapping[str, object]) -> str:
    words = [f"{key}={_name(str(call[key]))}" for key in _WORDS if call.get(key) is not None]
    figures = [f"{key}={call[key]:g}" for key in _FIGURES if isinstance(call.get(key), int | float)]
    passed = call.get("hops")
    hops = [
        f"hop={_name(str(hop['name']))}:{_name(str(hop['outcome']))}"
        for hop in (passed if isinstance(passed, list) else ())
    ]
    tokens = call.get("tokens")
    counted = tokens.items() if isinstance(tokens, Mapping) else ()
    return " ".join([*words, *figures, *(f"{kind}={count:d}" for kind, count in counted), *hops])


def _name(text: str) -> str:
    """Return a name that an agent or an API chose, where it can be no more than one."""
    return text if _NAME.fullmatch(text) and not looks_random(text) else "<not shown>"
