"""What clients have spent, and the limits on it."""
