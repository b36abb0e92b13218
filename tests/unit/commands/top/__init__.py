"""Tests of relay/commands/top, without a terminal."""
