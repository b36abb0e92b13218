"""The upstream's side of the wire: pool, connections, HTTP/1.1 records, health.

Knows nothing of agents.
"""
