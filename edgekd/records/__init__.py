"""Reports and baselines as JSON documents.

Here are their shape, their rows by place, and the facts that make two comparable.
"""
