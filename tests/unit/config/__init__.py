"""Tests of relay/config, without sockets."""
