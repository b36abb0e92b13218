"""Tests of relay/commands, without sockets."""
