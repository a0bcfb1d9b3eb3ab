"""Each stage's network as an exported file, with what it answers on the test set in PyTorch and in the runtime."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.fx import GraphModule

from edgekd.artifact import Artifact
from edgekd.bench import fingerprint
from edgekd.chain.network import build_spec, float_twin, restore
from edgekd.chain.runner import METRICS, Done
from edgekd.chain.store import Store
from edgekd.data import DataSet
from edgekd.export import export_onnx, float_convolutions, parity, runtime_logits
from edgekd.files import canonical_json, sha256, write_bytes, write_json
from edgekd.models import count_macs, count_parameters
from edgekd.progress import say
from edgekd.quantize import convert
from edgekd.train import logits_of

VERSION = 1
ONNX = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """One network's file and its answers on the test set."""

    label: str
    done: Done
    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / ONNX

    @cached_property
    def figures(self) -> dict[str, Any]:
        return json.loads((self.folder / METRICS).read_text())

    def predictions(self, runtime: str) -> Path:
        return self.folder / f"predictions-{runtime}.npy"


def evaluate(done: Done, number: int, data: DataSet, store: Store) -> Exported:
    """Exports and evaluates ``done``, or finds that it has been before."""
    name = f"{number:02d}-{done.label}"
    # The answers are this runtime's on this processor: another one may saturate where this one does not.
    machine = [fingerprint()[key] for key in ("cpu", "packages")]
    key = sha256(canonical_json(["export", VERSION, done.content, data.fingerprint, machine]))
    folder = store.find(name, key)
    if folder is None:
        say(f"  {done.label}: export and evaluation")
        with store.new(name, key) as new:
            _fill(new, done.artifact, data)
        folder = store.place(name, key)
    return Exported(done.label, done, folder)


def _fill(folder: Path, artifact: Artifact, data: DataSet) -> None:
    network = restore(artifact)
    deployed = convert(network) if isinstance(network, GraphModule) else network
    path = export_onnx(deployed, folder / ONNX, data.preprocess, data.classes)
    answers = {
        "pytorch": logits_of(network, data, data.test),
        "onnxruntime": runtime_logits(path, data, data.test),
    }
    for runtime, logits in answers.items():
        _save_array(folder / f"predictions-{runtime}.npy", logits.argmax(1).int().numpy())
    float_network = build_spec(float_twin(artifact.spec))
    left, convolutions = float_convolutions(path)
    figures = {
        "correct": {runtime: _correct(logits, data.test.labels) for runtime, logits in answers.items()},
        "n": len(data.test),
        "parity": asdict(parity(answers["pytorch"], answers["onnxruntime"])),
        "size_bytes": path.stat().st_size,
        "params": count_parameters(float_network),
        "macs": count_macs(float_network, data.input_shape),
        "convolutions": convolutions,
        "float_convolutions": left,
        "precision": "int8" if artifact.spec.quantization else "float32",
    }
    write_json(folder / METRICS, figures)


def _correct(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(1) == labels).sum())


def _save_array(path: Path, values: np.ndarray) -> None:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
