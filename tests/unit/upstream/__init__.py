"""Tests of relay/upstream, without sockets."""
