"""Tests of relay/telemetry/usage, without sockets."""
