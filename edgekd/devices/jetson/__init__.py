"""What NVIDIA's own tools and files on a Jetson say, read without guessing: text in, figures out.

The readers are pure, need the standard library alone and never raise: what they do not know they pass over, so that
the next JetPack costs a figure and not a measurement.
"""
