"""Devices that models run on: this machine, a Jetson, any board with SSH."""
