"""Tests of relay/telemetry/metrics, without sockets."""
