"""Runtimes, a folder each: files, sessions, layer times and rules."""
