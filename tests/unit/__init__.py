"""Each module by itself, and the relay on loopback."""
