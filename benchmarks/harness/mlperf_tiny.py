"""MLPerf Tiny's image classification network (ResNet-8, 32x32) in float32 and int8, ONNX Runtime, one thread.

    python benchmarks/harness/mlperf_tiny.py --json benchmarks/results/harness/mlperf_tiny.json

Its structure is the one of MLPerf Tiny 1.x (Banbury et al., 2021; mlcommons/tiny, resnet_v1_eembc with 16 filters):
78,666 parameters and 12.5 million multiply-accumulates. edgekd's differs in what costs next to no time: no biases
before BatchNorm (336 fewer), BatchNorm after the two projections (192 weights and as many running statistics more),
padding of strided convolutions on both sides instead of one, and logits instead of a softmax. This is a timing, not
a submission: no accuracy is claimed.

Weights are random, and int8 is timed again with weights trained on scikit-learn's digits, to see whether they matter.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.tasks.tensors import only

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options, say
from rich.console import Console
from rich.table import Table

from edgekd.bench.energy import NO_SENSOR
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import LatencyRecord
from edgekd.bench.runner import measure
from edgekd.data import load_data
from edgekd.export import export_onnx, float_convolutions
from edgekd.formatting import between, significant, size
from edgekd.models import build, count_macs, count_parameters
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, convert, freeze_ranges, prepare
from edgekd.recipe import Data, Train
from edgekd.stats.percentiles import percentile
from edgekd.stats.ratios import ratio_over_launches
from edgekd.train import CrossEntropy, FitOptions, fit

SHAPE, CLASSES, SEED = (3, 32, 32), 10, 0
# The reference's parameters, running statistics among them, as Keras counts; and its multiply-accumulates.
PUBLISHED_PARAMETERS, PUBLISHED_MACS = 78_666, 12_501_632
BIASES, PROJECTION_NORM = 336, 4 * (32 + 64)
RANDOM, TRAINED = "int8", "int8, trained"
CHECKED = 0.03


def resnet8() -> nn.Module:
    torch.manual_seed(SEED)
    return build("resnet8", SHAPE, CLASSES)


def against_published(network: nn.Module) -> dict[str, int]:
    weights = count_parameters(network)
    statistics = sum(2 * module.num_features for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    return {
        "weights": weights,
        "with_running_statistics": weights + statistics,
        # What the reference has more, and what it has less.
        "as_the_reference_counts": weights + statistics + BIASES - PROJECTION_NORM,
        "published": PUBLISHED_PARAMETERS,
        "macs": count_macs(network, SHAPE),
        "published_macs": PUBLISHED_MACS,
    }


def write_models(folder: Path, epochs: int) -> dict[str, Path]:
    """The files to time, and that the int8 ones are int8 throughout."""
    data = load_data(Data(source="digits", image_size=32, grayscale=False))
    trained = resnet8()
    fit(trained, data, Train(epochs=epochs), CrossEntropy(), FitOptions(seed=SEED))
    noise = torch.randn(128, *SHAPE, generator=torch.Generator().manual_seed(SEED))
    digits = torch.cat([only(data.to_input(raw)) for raw, _ in data.train.stream([torch.arange(128)])])
    preprocess = data.preprocess
    return {
        "float32": export_onnx(resnet8(), folder / "float32.onnx", preprocess),
        RANDOM: write_int8(resnet8(), noise, folder / "int8.onnx", preprocess),
        TRAINED: write_int8(trained, digits, folder / "int8-trained.onnx", preprocess),
    }


def write_int8(network: nn.Module, examples: Tensor, path: Path, preprocess: Preprocess) -> Path:
    graph = prepare(network, SHAPE)
    calibrate(graph, examples.split(32))
    freeze_ranges(graph)
    export_onnx(convert(graph), path, preprocess)
    left, convolutions = float_convolutions(path)
    say(f"  {path.name}: {convolutions - len(left)} of {convolutions} convolutions in int8")
    return path


def show(models: dict[str, Path], records: dict[str, LatencyRecord]) -> None:
    table = Table("ResNet-8", "Size", "p50 ms (95 %)", "p90 ms (95 %)", "p99 ms (95 %)", "Times faster", "mJ")
    for name, record in records.items():
        times = record.latency_ms.to_json()
        cells = [
            significant(times.get(p)) + between(times.get(f"ci95_{p}"), significant) for p in ("p50", "p90", "p99")
        ]
        ratio = record.latency_vs_reference
        table.add_row(
            *(name, size(models[name].stat().st_size), *cells),
            *(
                f"{1 / ratio.ratio:.2f}" if ratio else "",
                significant(1000 * record.energy.joules if record.energy else None),
            ),
        )
    console = Console(width=140)
    console.print(table)
    if not all(record.energy for record in records.values()):
        console.print(f"No energy: {NO_SENSOR}")


def kept(record: LatencyRecord) -> dict[str, Any]:
    """With the median of each round for its hundred thousand samples: all that ratios are made of."""
    figures = record.to_json()
    figures["round_medians_ns"] = [[percentile(block, 0.5) for block in launch] for launch in figures.pop("raw_ns")]
    return figures


def main() -> None:
    arguments = options(__doc__)
    seconds = 3.0 if arguments.quick else 15.0
    with tempfile.TemporaryDirectory(dir=arguments.out) as name:
        models = write_models(Path(name), epochs=1 if arguments.quick else 5)
        workloads = {key: Workload(str(path)) for key, path in models.items()}
        records = measure(Plan(workloads, reference="float32", threads=1, seconds=seconds, max_seconds=2 * seconds))
        show(models, records)
        sizes = {key: path.stat().st_size for key, path in models.items()}
    network = against_published(resnet8())
    ratio, interval = ratio_over_launches(records[TRAINED].raw_ns, records[RANDOM].raw_ns)
    assert interval is not None  # of as many launches as a plan has by itself
    say(f"trained over random weights, int8: {ratio:.4f} ({interval[0]:.4f} to {interval[1]:.4f})")
    figures = {
        "network": network,
        "size_bytes": sizes,
        "records": {key: kept(record) for key, record in records.items()},
        "int8_trained_over_random": {"ratio": ratio, "ci95": interval},
    }
    off = abs(network["as_the_reference_counts"] - PUBLISHED_PARAMETERS)
    goals = [
        goal("parameters that the published count does not explain", 0, off, at_most=True),
        goal("multiply-accumulates beside the published", 0, abs(network["macs"] - PUBLISHED_MACS), at_most=True),
        goal("trained int8 weights change the time by", CHECKED, abs(ratio - 1), at_most=True),
        goal("records that are valid", len(records), sum(record.valid for record in records.values())),
    ]
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
