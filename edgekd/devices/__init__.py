"""The way to any device: this machine's CPU and GPU, a Jetson, a board on the desk with an SSH server."""
