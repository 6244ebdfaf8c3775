"""What callers meet."""
