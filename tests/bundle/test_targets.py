"""A file for each target, named in manifest, card and summary."""

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime import GraphOptimizationLevel

from edgekd.bundle.diff import diff
from edgekd.bundle.manifest import Manifest
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.target import BundleTarget, file_for
from edgekd.bundle.verify import verify
from edgekd.cli.bundle import summary
from edgekd.errors import BundleError

from .models import linear_model
from .test_pack import contents


def target(name: str, profile: str = "onnxruntime-x86", **more: Any) -> BundleTarget:
    facts = {"runtime": "onnxruntime", "processor": "x86_64 CPU", "precision": "int8", "measured": True, **more}
    return BundleTarget(name=name, device=name, profile=profile, file=file_for(name), **facts)


@pytest.fixture
def packed(parts: dict[str, Any], tmp_path: Path) -> Path:
    int8, other = parts["models"]["int8"], linear_model(tmp_path / "arm.onnx", scale=0.98)
    targets = {
        target("cpu", threads=1): int8,
        target("desk", threads=4): int8,
        target("pi", "onnxruntime-arm", processor="aarch64 CPU", measured=False): other,
    }
    return pack(tmp_path / "packed", **parts, targets=targets)


def test_each_target_has_its_file(packed: Path, parts: dict[str, Any], bundle: Path) -> None:
    manifest, found = verify(packed), contents(packed)
    # The primary model is the first target's file; the float32 twin keeps its name.
    assert manifest.model == "model.cpu.onnx" and "model.int8.onnx" not in found and "model.onnx" in found
    assert found["model.cpu.onnx"] == found["model.desk.onnx"] == contents(bundle)["model.int8.onnx"]
    assert found["model.pi.onnx"] not in (found["model.cpu.onnx"], found["model.onnx"])
    assert found["triton/halves/1/model.onnx"] == found["model.cpu.onnx"]
    document = json.loads(found["manifest.json"])
    assert document["schema_version"] == 3
    assert document["targets"][1] == {
        "name": "desk", "device": "desk", "runtime": "onnxruntime", "processor": "x86_64 CPU", "threads": 4,
        "profile": "onnxruntime-x86", "precision": "int8", "file": "model.desk.onnx", "measured": True,
    }  # fmt: skip
    assert Manifest.from_bytes(found["manifest.json"]) == manifest and "threads" not in document["targets"][2]
    assert Predictor(packed).self_test().passed


def test_the_card_says_how_an_engine_is_built_of_a_file(parts: dict[str, Any], tmp_path: Path) -> None:
    jetson = target("orin", "tensorrt", runtime="tensorrt", processor="NVIDIA GPU", measured=False)
    packed = pack(
        tmp_path / "packed",
        **parts,
        targets={target("cpu", threads=1): parts["models"]["int8"], jetson: parts["models"]["int8"]},
    )
    card = (packed / "README.md").read_text()
    assert card.count("`trtexec --onnx=model.orin.onnx --saveEngine=model.engine --stronglyTyped`") == 1
    assert "trtexec --onnx=model.cpu.onnx" not in card


def test_card_summary_and_diff_name_them(packed: Path, bundle: Path) -> None:
    card = (packed / "README.md").read_text()
    assert "## Targets" in card and "runs `model.cpu.onnx`" in card
    assert "| pi | model.pi.onnx | onnxruntime | aarch64 CPU | int8 | no |" in card
    assert "## Targets" not in (bundle / "README.md").read_text()
    assert "target  pi  model.pi.onnx  onnxruntime on aarch64 CPU, int8" in summary(verify(packed))
    changed = {(each.part, each.item) for each in diff(verify(bundle), verify(packed)) if each.part == "targets"}
    assert changed == {("targets", "cpu 1"), ("targets", "desk 4"), ("targets", "pi")}


def test_the_card_and_predict_choose_another_targets_file(
    parts: dict[str, Any], tmp_path: Path, draw: Callable[[str], Path], edgekd: Any
) -> None:
    jetson = target("orin", "tensorrt", runtime="tensorrt", processor="NVIDIA GPU", measured=False)
    files = {
        target("cpu"): parts["models"]["int8"],
        target("pi", processor="other CPU", measured=False): linear_model(tmp_path / "arm.onnx", scale=0.5),
        jetson: linear_model(tmp_path / "gpu.onnx", scale=0.9),
    }
    packed = pack(tmp_path / "packed", **parts, targets=files)
    card = (packed / "README.md").read_text()
    assert "another target with `--target pi`; in a program, the file's name is the one line to change: " in card
    assert "`model.pi.onnx` for pi.\n" in card and "`--target orin`" not in card
    left = draw("left")
    for name, scale in (("cpu", 0.99), ("pi", 0.5)):
        done = edgekd("predict", packed, left, "--json", "--target", name)
        expected = 1 / (1 + np.exp(-scale) + np.exp(-2 * scale))
        assert json.loads(done.out)[0]["probability"] == pytest.approx(expected, abs=1e-5)
    for name, says in {
        "pj": "error: the bundle has no target 'pj' (did you mean 'pi'?); known: cpu, pi, orin",
        "orin": "error: model.orin.onnx of target 'orin' is for TensorRT, and predictions are made in ONNX Runtime; "
        "its targets for ONNX Runtime: cpu, pi",
    }.items():
        done = edgekd("predict", packed, left, "--target", name)
        assert (done.code, done.out, done.err.rstrip("\n")) == (1, "", says)
    with pytest.raises(BundleError, match="names no targets; leave the target out"):
        Predictor(pack(tmp_path / "plain", **parts), target="pi")


OTHER = {"processor": "other CPU", "measured": False}
HERE = f"{platform.machine()} CPU"


def levels(predictor: Predictor) -> GraphOptimizationLevel:
    return predictor.session.runtime.get_session_options().graph_optimization_level


def test_the_file_for_this_processor_predicts(
    parts: dict[str, Any], tmp_path: Path, draw: Callable[[str], Path], edgekd: Any
) -> None:
    own, here = parts["models"]["int8"], linear_model(tmp_path / "here.onnx", scale=0.5)
    files = {target("pi", **OTHER): own, target("cpu", processor=HERE): here}
    packed = pack(tmp_path / "packed", **parts, targets=files)
    assert verify(packed).model == "model.pi.onnx"
    for options, scale in (([], 0.5), (["--target", "cpu"], 0.5), (["--target", "pi"], 0.99)):
        done = edgekd("predict", packed, draw("left"), "--json", *options)
        expected = 1 / (1 + np.exp(-scale) + np.exp(-2 * scale))
        assert json.loads(done.out)[0]["probability"] == pytest.approx(expected, abs=1e-5)
        assert "step by step" not in done.err
    assert levels(Predictor(packed)) == GraphOptimizationLevel.ORT_ENABLE_ALL
    assert levels(Predictor(packed, target="pi")) == GraphOptimizationLevel.ORT_DISABLE_ALL
    # Golden outputs are of the bundle's own model, whatever predicts here.
    assert Predictor(packed).self_test().passed and Predictor(packed, target="cpu").self_test().passed


@pytest.mark.parametrize(
    ("facts", "optimised"),
    [
        ({"pi": OTHER}, False),
        ({"pi": {**OTHER, "processor": HERE, "runtime": "tensorrt"}}, False),
        ({"pi": {**OTHER, "precision": "float32"}}, True),
        ({"pi": OTHER, "cpu": {"processor": HERE}}, True),
        ({}, True),
    ],
)
def test_int8_for_another_processor_is_computed_step_by_step(
    parts: dict[str, Any],
    tmp_path: Path,
    draw: Callable[[str], Path],
    edgekd: Any,
    facts: dict[str, dict[str, Any]],
    optimised: bool,
) -> None:
    own = parts["models"]["int8"]
    packed = pack(tmp_path / "packed", **parts, targets={target(name, **about): own for name, about in facts.items()})
    predictor = Predictor(packed)
    assert predictor.chosen == (verify(packed).model, optimised)
    assert levels(predictor) == getattr(GraphOptimizationLevel, "ORT_ENABLE_ALL" if optimised else "ORT_DISABLE_ALL")
    assert predictor.self_test().passed
    done = edgekd("predict", packed, draw("left"))
    assert done.code == 0 and ("model.pi.onnx is for another processor or runtime" in done.err) is not optimised


@pytest.mark.parametrize(
    ("machine", "processor", "same"),
    [
        ("arm64", "aarch64 CPU", True),
        ("AMD64", "x86_64 CPU", True),
        ("riscv64", "riscv64 CPU", True),
        ("riscv64", "aarch64 CPU", False),
        ("x86_64", "CPU", False),
    ],
)
def test_an_architecture_has_several_names(
    monkeypatch: pytest.MonkeyPatch, machine: str, processor: str, same: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert target("pi", processor=processor).is_for_this_processor == same


def test_a_target_without_its_file_is_refused(packed: Path, parts: dict[str, Any], tmp_path: Path) -> None:
    manifest = verify(packed)
    other = BundleTarget(**{**vars(manifest.targets[2]), "file": "model.other.onnx"})
    with pytest.raises(BundleError, match="targets: the file 'model.other.onnx' of 'pi' is not among the files"):
        Manifest(**{**vars(manifest), "targets": (other,)})
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="broken.onnx: not an ONNX file"):
        pack(tmp_path / "b", **parts, targets={target("pi"): tmp_path / "broken.onnx"})
