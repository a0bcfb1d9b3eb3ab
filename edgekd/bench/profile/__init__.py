"""Time of each layer in one inference, and its distance from the machine's roofline."""
