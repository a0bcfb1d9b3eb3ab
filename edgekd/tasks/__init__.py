"""The purpose of a network: how its outputs are decoded, scored and learned, task by task."""
