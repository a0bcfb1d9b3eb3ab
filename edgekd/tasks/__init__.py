"""What a network is for: how its outputs are decoded, scored and learned, task by task."""
