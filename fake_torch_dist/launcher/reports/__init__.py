"""What the launcher says of itself and of ranks that failed."""
