"""Structured pruning, with training after each cut."""
