"""A run from recipe to bundle, whose finished parts are found again."""
