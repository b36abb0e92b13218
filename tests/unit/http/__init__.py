"""Tests of relay/http, without sockets."""
