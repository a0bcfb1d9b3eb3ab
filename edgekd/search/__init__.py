"""The search for a student within a budget."""
