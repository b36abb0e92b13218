"""Traces: a server span for each call, a client span for each of its legs.

``trace`` is what a call knows of its own, ``conventions`` what spans say, ``encoding`` their bytes,
``exporter`` sends them. The last two import OpenTelemetry's packages, and are themselves imported
only where the standard variables ask for traces: elsewhere neither memory nor a call pays for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def are_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables name a collector, and none of them switches traces off."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    named = any(environment.get(name, "").strip() for name in _ENDPOINTS)
    return named and not disabled and exporter in ("", "otlp")
