"""Hostile and broken peers, and the relay's life: what the relay does when others fail."""
