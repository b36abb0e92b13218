"""Tests of relay/credentials, without sockets."""
