"""Where the time of one inference goes, layer by layer, and how far each layer is from the machine's limit."""
