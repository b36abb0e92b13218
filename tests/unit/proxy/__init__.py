"""Tests of relay/proxy, without sockets."""
