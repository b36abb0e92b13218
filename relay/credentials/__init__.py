"""Where secrets come from: sources read once, and values that follow them."""
