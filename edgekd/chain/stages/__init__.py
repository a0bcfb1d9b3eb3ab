"""One file per stage; importing this package registers them all."""

from edgekd.chain.stages import distill, prune, quantize, teacher

__all__ = ["distill", "prune", "quantize", "teacher"]
