"""PyTorch: networks as they are trained, eager, compiled or as a CUDA graph."""

from edgekd.runtime import Runtime

RUNTIME = Runtime(
    "pytorch",
    "PyTorch",
    sessions=("pytorch", "pytorch-compiled", "pytorch-cudagraph"),
    loads="a stage folder or path.py:function",
    suffixes=(),
    packages=("torch",),
    takes_precision=True,
)
