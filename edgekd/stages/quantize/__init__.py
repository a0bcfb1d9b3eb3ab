"""Quantisation, as far as the accuracy needs."""
