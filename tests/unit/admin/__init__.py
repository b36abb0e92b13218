"""The admin listener, without sockets."""
