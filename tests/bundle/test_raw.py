"""The file that takes raw images: fed the same bits as by the preprocessing in NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgekd.bundle.manifest import Tensor
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.raw import with_raw_input
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess

from .conftest import PREPROCESS
from .models import linear_model

RGB = Preprocess("image", (3, 5, 7), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def identity(shape: tuple[int, ...], batch: int | str = "N", kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["logits"])],
        "same",
        [helper.make_tensor_value_info("input", kind, [batch, *shape])],
        [helper.make_tensor_value_info("logits", kind, [batch, *shape])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {"edgekd.preprocess": "{}", "edgekd.labels": "[]"})
    return model


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


@pytest.mark.parametrize("preprocess", [RGB, Preprocess("image", (1, 5, 7), (0.1307,), (0.3081,))])
@pytest.mark.parametrize("batch", ["N", 4])
def test_the_network_is_fed_the_same_bits(preprocess: Preprocess, batch: int | str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, *preprocess.shape), dtype=np.uint8)
    images[0].flat[:35] = np.arange(35)
    raw = with_raw_input(identity(preprocess.shape, batch), preprocess)
    onnx.checker.check_model(raw, full_check=True)
    # by hand, apart from Preprocess.apply
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (preprocess.mean, preprocess.std))
    expected = (images.astype(np.float32) / np.float32(255) - mean) / std
    assert np.array_equal(run(raw, images.transpose(0, 2, 3, 1)), expected)
    assert np.array_equal(preprocess.apply(images), expected)


def test_every_grey_level_is_fed_the_same_bits() -> None:
    preprocess = Preprocess("image", (1, 16, 16), (0.305834,), (0.37594,))
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    raw = with_raw_input(identity((1, 16, 16)), preprocess)
    assert np.array_equal(run(raw, levels.reshape(1, 16, 16, 1)), preprocess.apply(levels))


def test_the_model_itself_is_left_as_it_is() -> None:
    model = identity(RGB.shape)
    before = model.SerializeToString()
    raw = with_raw_input(model, RGB)
    assert model.SerializeToString() == before
    assert [entry.key for entry in raw.metadata_props] == ["edgekd.labels"]


def test_what_takes_no_images_is_refused() -> None:
    with pytest.raises(BundleError, match="vectors"):
        with_raw_input(identity((2,)), Preprocess("vector", (2,), (0.0, 0.0), (1.0, 1.0)))
    model = identity(RGB.shape)
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))
    with pytest.raises(BundleError, match="has 2"):
        with_raw_input(model, RGB)


@pytest.fixture
def raw_parts(parts: dict[str, Any]) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(parts["models"]["int8"]), providers=["CPUExecutionProvider"])
    fed = PREPROCESS.apply(images)
    return parts | {"raw": images, "golden": (fed, session.run(None, {"input": fed})[0])}


def test_a_bundle_with_it(raw_parts: dict[str, Any], tmp_path: Path) -> None:
    bundle = pack(tmp_path / "raw", **raw_parts)
    manifest = verify(bundle)
    assert manifest.raw_inputs == (Tensor("image", "UINT8", (-1, 8, 8, 1)),)
    assert {"model.raw", "golden.raw"} <= {file.role for file in manifest.files}
    assert "`model.raw.onnx` takes decoded images" in (bundle / "README.md").read_text()
    predictor = Predictor(bundle)
    assert predictor.self_test().passed
    images = raw_parts["raw"].transpose(0, 2, 3, 1)
    assert np.array_equal(predictor.run_raw(images)["logits"], predictor.run(PREPROCESS.apply(raw_parts["raw"])))


def test_the_self_test_tries_it_too(raw_parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = onnx.load(linear_model(tmp_path / "c.onnx", scale=-1.0))
    monkeypatch.setattr("edgekd.bundle.pack.with_raw_input", lambda _, pre: with_raw_input(wrong, pre))
    with pytest.raises(BundleError, match="golden outputs"):
        pack(tmp_path / "raw", **raw_parts)


def test_raw_images_that_the_golden_input_is_not_made_of_are_refused(raw_parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="raw images"):
        pack(tmp_path / "raw", **raw_parts | {"raw": raw_parts["raw"] ^ 1})


def test_the_role_is_taken(raw_parts: dict[str, Any], tmp_path: Path) -> None:
    models = raw_parts["models"]
    with pytest.raises(BundleError, match="neither 'raw' nor 'decoded'"):
        pack(tmp_path / "raw", **raw_parts | {"models": models | {"raw": models["int8"]}})
