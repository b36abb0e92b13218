"""Traces: a server span for each call, a client span for each of its legs.

``trace`` is what a call knows of its own, ``conventions`` what spans say, ``encoding`` their bytes,
``exporter`` sends them. The last two import OpenTelemetry's packages, and are themselves imported
only where the standard variables ask for traces: elsewhere neither memory nor a call pays for them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.telemetry.traces.exporter import Tracer

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

log = logging.getLogger("relay")


def wanted_tracer(environment: Mapping[str, str]) -> Tracer | None:
    """Return what sends traces, where they are wanted and what that takes is installed."""
    if not are_wanted(environment):
        return None
    try:
        from relay.telemetry.traces.exporter import Tracer  # noqa: PLC0415  # the SDK takes memory: only where wanted
    except ImportError:
        log.warning("no traces: that takes what pip install 'agent-relay[otel]' brings")
        return None
    return Tracer()


def are_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables name a collector, and none of them switches traces off."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    named = any(environment.get(name, "").strip() for name in _ENDPOINTS)
    return named and not disabled and exporter in ("", "otlp")
