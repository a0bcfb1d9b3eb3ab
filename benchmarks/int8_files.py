"""The files that are timed against each other: a network's float file, edgekd's int8 file, and the peers'.

Weights are random, with BatchNorm statistics of random images, and calibration images are random too. Each file is
kept in a store, with why it is not there or does not run.
"""

import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import say
from peers import Images, Made, quantise, runs, version_of, x86_profile
from torch import Tensor, nn

import edgekd
from edgekd.artifact_cache import ArtifactCache
from edgekd.errors import EdgekdError, first_line
from edgekd.export import export_onnx, float_convolutions
from edgekd.files import canonical_json, sha256, sha256_file, write_bytes, write_json
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import to_runtime
from edgekd.quantize.placement import search_placement
from edgekd.quantize.qdq import to_qdq
from edgekd.runtime import DEFAULT

TORCHVISION = (
    *("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0"),
    *("efficientnet_v2_s", "regnet_y_400mf", "mnasnet1_0", "squeezenet1_1", "shufflenet_v2_x1_0", "densenet121"),
    *("googlenet", "convnext_tiny", "vgg11_bn", "resnext50_32x4d"),
)
SMALL = {
    "cifar_resnet20": "resnet20",
    "cifar_resnet56": "resnet56",
    "cifar_resnet18": f"{Path(__file__).with_name('networks.py')}:resnet18_cifar",
}
# What a network is built by, and the side of its input.
NETWORKS = {name: (f"torchvision/{name}", 224) for name in TORCHVISION} | {name: (b, 32) for name, b in SMALL.items()}
PEERS = ("ORT defaults", "ORT QUInt8/QInt8 per channel", "NNCF")
FLOAT, OURS = "float", "edgekd"

SEED, CALIBRATION, STATISTICS, BATCH = 0, 32, 64, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ONNX, ABOUT = "model.onnx", "about.json"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A file and how many of its convolutions ONNX Runtime leaves in float, or why there is none that runs."""

    file: Path | None
    error: str | None
    seconds: float
    float_convolutions: int | None = None
    convolutions: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "file" and value is not None}


def edgekd_file(
    network: nn.Module, shape: tuple[int, ...], batches: Sequence[Tensor], folder: Path, profile: str | None = None
) -> Path:
    """edgekd's int8 file of ``network``, calibrated on ``batches``, in ``folder``; where int8 goes is measured."""
    profile = profile or x86_profile()
    graph = prepare(network, shape, profile)
    calibrate(graph, batches)
    qdq = to_qdq(graph, Preprocess("image", shape, MEAN, STD))
    model = to_runtime(qdq, graph, profile, profile, search_placement(qdq, profile).keep_float)
    write_bytes(folder / ONNX, model.SerializeToString(deterministic=True))
    return folder / ONNX


def shape_of(name: str) -> tuple[int, int, int]:
    side = NETWORKS[name][1]
    return 3, side, side


def build_network(name: str) -> nn.Module:
    """Statistics of random images keep activations in the range that weights of a trained network would."""
    torch.manual_seed(SEED)
    network = build(NETWORKS[name][0], shape_of(name), 1000 if name in TORCHVISION else 10).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        # Without momentum they are the mean over all batches. Nothing else trains: dropout would add noise.
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for images in random_images(name, STATISTICS):
            network(images)
    return network.eval()


def random_images(name: str, count: int) -> tuple[Tensor, ...]:
    """Normal numbers, as normalised images are, in batches."""
    return torch.randn(count, *shape_of(name), generator=torch.Generator().manual_seed(SEED)).split(BATCH)


def make_files(name: str, store: ArtifactCache, ours: bool = True, peers: Sequence[str] = PEERS) -> dict[str, Entry]:
    """The float file, the peers' and edgekd's, made now or before; ``ours=False`` leaves out what needs a clock."""
    network, shape, batches = build_network(name), shape_of(name), random_images(name, CALIBRATION)
    images = torch.cat(batches).numpy()

    def write_float(folder: Path) -> Made:
        return made(lambda: export_onnx(network, folder / ONNX, Preprocess("image", shape, MEAN, STD)))

    def write_ours(folder: Path) -> Made:
        return made(lambda: edgekd_file(network, shape, batches, folder))

    entries = {FLOAT: kept(store, f"{name}-float", [importlib.metadata.version("torch")], images[:1], write_float)}
    float_file = entries[FLOAT].file
    if float_file is None:
        return entries
    digest = sha256_file(float_file)
    if ours:
        entries[OURS] = kept(store, f"{name}-edgekd", [digest, own_sources()], images[:1], write_ours)
    for peer in peers:
        label = f"{name}-{peer.replace('/', '-').replace(' ', '-')}"

        def write_peer(folder: Path, peer: str = peer) -> Made:
            return quantise(peer, float_file, folder / ONNX, images)

        entries[peer] = kept(store, label, [digest, version_of(peer)], images[:1], write_peer)
    return entries


def made(write: Callable[[], Path]) -> Made:
    started = time.monotonic()
    try:
        return Made(write(), None, time.monotonic() - started)
    except EdgekdError as error:
        return Made(None, first_line(error), time.monotonic() - started)


def kept(
    store: ArtifactCache,
    label: str,
    inputs: list[Any],
    image: Images,
    write: Callable[[Path], Made],
    check: Callable[[Path, Images], str | None] = runs,
    runtime: str = DEFAULT,
) -> Entry:
    """The entry of ``label``, written where the store does not hold it."""
    key = sha256(canonical_json([VERSION, label, *inputs]))

    def fill(new: Path) -> None:
        say(f"  {label}: being made")
        result = write(new)
        error = result.error or check(new / ONNX, image)
        left, count = float_convolutions(new / ONNX, runtime) if error is None else ([], 0)
        counts = {} if error else {"float_convolutions": len(left), "convolutions": count}
        write_json(new / ABOUT, {"error": error, "seconds": result.seconds, **counts})

    folder = store.keep(label, key, fill)
    about = json.loads((folder / ABOUT).read_text())
    return Entry(file=None if about["error"] else folder / ONNX, **about)


def own_sources() -> str:
    """edgekd's file depends on all of edgekd that quantises and exports."""
    root = Path(edgekd.__file__).parent
    files = sorted(
        path for part in ("quantize", "export", "deploy", "runtimes") for path in (root / part).rglob("*.py")
    )
    return sha256(canonical_json([sha256_file(path) for path in files]))
