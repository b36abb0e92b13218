"""What runs in the clients' own environments: a script for each SDK, in either language."""
