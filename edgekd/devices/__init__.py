"""Access to the devices that models run on: this machine's CPU and GPU, a Jetson, any board with an SSH server."""
