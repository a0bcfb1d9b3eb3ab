"""What later versions must still read, and the bytes that three small recipes give; ``record`` writes all of it."""
