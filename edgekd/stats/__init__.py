"""Intervals, paired tests and ratios: pure functions on numbers, for measuring, judging and reporting."""
