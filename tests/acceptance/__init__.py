"""Real clients through the relay's image, and a strict API at the end of the line."""
