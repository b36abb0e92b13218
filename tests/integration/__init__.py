"""What needs sockets or processes: parts of the relay against real peers on loopback."""
