"""Products, and their SQL."""
