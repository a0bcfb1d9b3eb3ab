"""PyTorch's exporter builds its table of operators anew for each network, from the source of five hundred functions.

That is a fifth of an export's time.
"""

import copy
from functools import cache
from typing import Any


@cache
def keep_operators() -> None:
    """Let the exporter build its table once in this process; each export gets a copy, and the same file as before."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        build = cache(ONNXRegistry.from_torchlib)
    except (ImportError, AttributeError):  # a PyTorch that has no such table to keep
        return

    def from_torchlib(_: type, *args: Any, **options: Any) -> Any:
        whole = build(*args, **options)
        table = copy.copy(whole)
        table.functions = {name: list(found) for name, found in whole.functions.items()}
        return table

    ONNXRegistry.from_torchlib = classmethod(from_torchlib)  # type: ignore[assignment]
