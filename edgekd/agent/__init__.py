"""The measuring agent, which runs where models are timed: here, or on a device with Python 3.8 and NumPy.

It hosts sessions of runtimes, each in a process of its own, and runs blocks of their inferences in turns. A plan comes
in as a line of JSON, records go out as lines of JSON. It imports the standard library, NumPy and the runtime.
"""
