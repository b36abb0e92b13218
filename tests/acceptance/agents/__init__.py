"""Real agents as `relay run` starts them, in the place of a user's own."""
