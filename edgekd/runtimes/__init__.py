"""Runtimes, a folder each: what one needs for its files, sessions, layer times and rules, and its record."""
