"""The time of each layer by torch.profiler: on a GPU that of its kernels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import goal

from edgekd.bench.plan import Workload
from edgekd.runtimes.pytorch.profile import REMAINDER, profile
from edgekd.runtimes.pytorch.session import EAGER

NETWORKS = Path(__file__).parents[1] / "networks.py"


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    pixels, batches = (64, (1,)) if quick else (224, (1, 32))
    for batch in batches:
        workload = Workload(f"{NETWORKS}:resnet18", EAGER, device, (batch, 3, pixels, pixels), "float32")
        yield f"batch {batch}", profile(workload, batch=batch, runs=5 if quick else 30).to_json()


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    found = []
    for name, each in figures.items():
        named = [layer for layer in each["layers"] if layer["name"] != REMAINDER]
        timed = [layer for layer in named if layer["ms"] > 0]
        share = sum(layer["ms"] for layer in each["layers"]) / each["total_ms"]
        found.append(goal(f"layers: {name}, layers with a time", len(named), len(timed)))
        found.append(goal(f"layers: {name}, their sum over the whole", 1.05, share, at_most=True))
    return found
