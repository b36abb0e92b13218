"""Tests of relay/downstream, without sockets."""
