"""The upstream's side of the wire: pool, connections, HTTP/1.1 exchanges, health.

Knows nothing of agents.
"""
