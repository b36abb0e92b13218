"""HTTP/1.1 and what rides on it, as pure functions of bytes (RFC 9110, RFC 9112).

Knows nothing of sockets, the event loop or the relay's configuration.
"""
