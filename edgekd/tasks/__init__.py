"""Tasks: how a network's outputs are decoded, scored and learned."""
