"""Parsers for NVIDIA's tools and files on a Jetson: text in, values out.

The parsers are pure, need the standard library alone and never raise. They skip what they do not know, so that the next
JetPack costs a value and not a measurement.
"""
