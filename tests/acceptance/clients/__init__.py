"""Programs that use a client as its users do; each runs in the environment of that client."""
