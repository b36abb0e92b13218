"""Measurements of the relay: not tests, for their figures depend on the machine."""
