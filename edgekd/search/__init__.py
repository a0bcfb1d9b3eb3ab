"""The search for a student within a budget: the space of its recipes, and what is tried in it."""
