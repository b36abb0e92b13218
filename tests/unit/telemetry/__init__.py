"""Tests of relay/telemetry, without sockets."""
