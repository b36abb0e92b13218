"""The agent's side of the wire: listeners, connections, request bodies.

Knows nothing of upstreams.
"""
