"""edgekd: distil, prune and quantise a network for the device it must run on.

Every part works alone, in a loop of your own; each package is imported when it is first used::

    import edgekd

    loss = edgekd.distill.KD(temperature=4.0)
    pruned = edgekd.prune.prune(network, (3, 32, 32), macs=0.5)
    graph = edgekd.quantize.prepare(pruned.network, (3, 32, 32))
    edgekd.export.export_onnx(edgekd.quantize.convert(graph), path, preprocess)
    plan = edgekd.bench.Plan({"teacher": edgekd.bench.Workload(teacher), "student": edgekd.bench.Workload(path)})
    edgekd.bench.measure(plan)

Nothing is printed: what happens is logged below the logger ``edgekd``.
"""

import os
import sys
from importlib import import_module

TYPE_CHECKING = False  # ``python -m edgekd`` may not import typing yet: see __main__
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

# Unless this is set before it is first imported, ONNX Runtime 1.31 keeps a device ID and a database of events under the
# user's cache. The rest of edgekd, and all of every process that it starts, is imported after this line.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO's telemetry sends an event from a process that it forks, whenever it is imported. It does without where there
# is none.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

ROOMS = (
    *("artifact", "bench", "bundle", "data", "distill", "export", "factorize", "lint", "models", "options"),
    *("pipeline", "preprocess", "prune", "quantize", "recipe", "report", "runtimes", "stages", "stats", "tasks"),
    "train",
)

if TYPE_CHECKING:
    from edgekd.pipeline.run import run as run
    from edgekd.stages.network import load as load


def __getattr__(name: str) -> "Any":
    if name == "load":
        return import_module("edgekd.stages.network").load
    if name == "run":
        return import_module("edgekd.pipeline.run").run
    if name in ROOMS:
        return import_module(f"edgekd.{name}")
    raise AttributeError(f"module 'edgekd' has no attribute {name!r}")
