"""Intervals, paired tests and ratios, as pure functions on numbers."""
