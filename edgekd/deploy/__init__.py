"""Files for runtimes from one trained graph: ``deploy(model, "onnxruntime-x86")``."""

from edgekd.deploy.deploy import deploy

__all__ = ["deploy"]
