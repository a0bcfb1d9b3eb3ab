"""Intervals, paired tests and ratios: numbers in, numbers out, for whoever measures, judges or reports."""
