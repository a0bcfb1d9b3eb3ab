"""Heat maps through training, distillation, a cut, int8, a file, a bundle and the command that predicts with it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edgekd.bundle.pack import pack
from edgekd.cli.predict import predict
from edgekd.data import DataSet, InMemory
from edgekd.distill import Distillation
from edgekd.distill.build import LossSpec, build_terms
from edgekd.errors import ModelError
from edgekd.export import parity, runtime_logits
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.prune import prune
from edgekd.quantize import calibrate, export_runtime, prepare
from edgekd.stages.network import build_spec, spec_for
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.train import FitOptions, Train, fit, logits_of, metric_of
from edgekd.train.objective import TaskLoss

SHAPE = (3, 16, 16)
NAMES = ("middle", "corner")
PROFILE = "onnxruntime-x86"
BASELINE = partial(build, "simple_baseline", SHAPE, len(NAMES), backbone="small_cnn", stride=2)


def drawn(n: int, seed: int) -> InMemory:
    """Dark images with a light square of 6 pixels: its middle and its upper left corner, which is not always known."""
    random = np.random.default_rng(seed)
    images, points = random.integers(0, 100, (n, *SHAPE)).astype(np.uint8), np.zeros((n, 2, 2), np.float32)
    for image, row in zip(images, points, strict=True):
        left, top = random.integers(0, 11, 2)
        image[:, top : top + 6, left : left + 6] += 120
        row[:] = (left + 3, top + 3), (left, top)
    points[random.random(n) < 0.1, 1] = np.nan
    return InMemory(torch.from_numpy(images), torch.from_numpy(points))


@pytest.fixture(scope="module")
def data() -> DataSet:
    scale = Preprocess("image", SHAPE, (0.3,) * 3, (0.2,) * 3)
    parts = [drawn(n, seed) for seed, n in enumerate((320, 40, 60))]
    task = Keypoints(NAMES).adapted(parts[0].labels.numpy(), SHAPE[1:])
    return DataSet("squares", NAMES, scale, *parts, batch_size=20, kind=lambda names: task)


@pytest.fixture(scope="module")
def teacher(data) -> nn.Module:
    torch.manual_seed(0)
    network = BASELINE(backbone_args={"width": 8}, channels=16)
    section = Train(epochs=6, lr=0.02, optimizer="adamw")
    fit(network, data, section, TaskLoss(data.task), FitOptions(float32=True))
    return network.eval()


@pytest.fixture(scope="module")
def cut(data, teacher) -> nn.Module:
    """Half of the teacher's multiply-accumulates, taught by the teacher."""
    network = prune(teacher, SHAPE, macs=0.5).network
    terms = build_terms([LossSpec("kd")], network, teacher, SHAPE, task=data.task)
    section = Train(epochs=4, lr=0.01, optimizer="adamw")
    fit(network, data, section, Distillation(teacher, terms, task=data.task), FitOptions(float32=True))
    return network.eval()


@pytest.fixture(scope="module")
def file(data, cut, tmp_path_factory) -> Path:
    graph = prepare(cut, SHAPE, PROFILE)
    calibrate(graph, list(data.inputs(data.validation)))
    path = tmp_path_factory.mktemp("exported") / "model.int8.onnx"
    return export_runtime(graph, path, data.preprocess, PROFILE, trained=PROFILE, classes=NAMES)


def test_it_learns_places_and_keeps_them_at_half_the_work_and_in_int8(data, teacher, cut, file):
    """Distances are in units of the 4.2 pixels between both points, and cells are of 2 pixels."""
    found = {"teacher": metric_of(teacher, data, data.test), "cut": metric_of(cut, data, data.test)}
    outputs = runtime_logits(file, data.inputs(data.test))
    nme, targets = data.task.metrics[0], data.task.targets(data.test.labels.numpy())
    found["int8"] = nme.evidence(data.task.decode({"logits": outputs.numpy()}), targets).value()
    assert all(value < 0.1 for value in found.values()), found
    # Of the file's own arithmetic, next to the cut network's.
    same = parity(logits_of(cut, data, data.test), outputs, data.task)
    assert same.agreement > 0.95 and same.mean_steps < 3


def test_a_bundle_predicts_points_with_scores_in_the_pixels_of_the_file(data, file, tmp_path, capsys):
    golden = next(iter(data.inputs(data.test)))[:4]
    outputs = runtime_logits(file, [golden]).numpy()
    parts = {"task": data.task, "preprocess": data.preprocess, "golden": (golden.numpy(), outputs)}
    bundle = pack(tmp_path / "bundle", name="squares", models={"int8": file}, **parts)
    config = (bundle / "triton/squares/config.pbtxt").read_text()
    assert "dims: [2, 8, 8]" in config and r"\"sigma\":1.0" in config
    (tmp_path / "photos").mkdir()
    known = int(torch.nonzero(data.test.labels.isfinite().all(2).all(1))[0])
    picture = data.test.raw[known].numpy().transpose(1, 2, 0).repeat(2, 0).repeat(3, 1)
    Image.fromarray(picture).save(tmp_path / "photos" / "one.png")
    assert predict(bundle, [tmp_path / "photos"], pictures=tmp_path / "shown", as_json=True) == 0
    [found] = json.loads(capsys.readouterr().out)
    places = [found["points"][name] for name in NAMES]
    np.testing.assert_allclose(places, data.test.labels[known].numpy() * (3, 2), atol=3)
    assert all(0.3 < found["scores"][name] < 1.5 for name in NAMES)
    assert Image.open(tmp_path / "shown" / "one.predicted.jpg").size == (48, 32)


def test_a_network_is_built_with_as_many_outputs_as_its_kind_has(data, tmp_path):
    """Two for each point where it gives coordinates, and one for each where it gives maps: no key says which."""
    widths = {
        name: spec_for(name, args, data).num_classes
        for name, args in (("small_cnn", {"width": 4}), ("simple_baseline", {"backbone_args": {"width": 4}}))
    }
    assert widths == {"small_cnn": 4, "simple_baseline": 2}
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\n\ndef maps(num_classes):\n    return nn.Conv2d(3, num_classes, 4, 4)\n\n"
        "def odd():\n    return nn.Conv2d(3, 3, 4, 4)\n"
    )
    state = torch.get_rng_state()
    spec = spec_for(f"{own}:maps", {}, data)
    assert spec.num_classes == 2 and spec.signature is None and torch.equal(torch.get_rng_state(), state)
    assert build_spec(spec)(torch.zeros(1, *SHAPE)).shape == (1, 2, 4, 4)
    from edgekd.pipeline.network_check import check_inputs, check_network

    odd = spec_for(f"{own}:odd", {}, data)
    with pytest.raises(
        ModelError, match=r"gives shape \(4, 3, 4, 4\); expected logits of shape \(4, 4\) or \(4, 2, any"
    ):
        check_network(build_spec(odd), odd, check_inputs(data), data.task)
    check_network(build_spec(spec), spec, check_inputs(data), data.task)
    unsized = replace(data.task, image=None)
    with pytest.raises(ModelError, match="gives heat maps, and the size of its image is not known"):
        check_network(build_spec(spec), spec, check_inputs(data), unsized)
