"""Reports and baselines as JSON documents: their shape, their rows by place, and the facts that make two comparable."""
